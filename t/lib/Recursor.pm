# Recursor.pm - a recursor for a test script that answers from a table, over
# UDP and TCP, or misbehaves as the table says.
#
#	my $r = Recursor->new({ 'host.example' => { A => ['192.0.2.1'] }, 'www.example' => { CNAME => 'host.example' } });
#	recursors => [$r->{address}]
#	$r->set({...});			# another table from now on
#	$r->log				# questions so far: { proto, id, port, flags, name, type, edns, size, cookie }
#
# A name's row: A, AAAA (lists), CNAME, TXT, PTR (a text each), ttl; and how to answer:
#	rcode => n		with this, and nothing else
#	delay => seconds	late
#	mode => ...		silent; wrong_id, wrong_question, wrong_case, forged (a wrong one first, then the right);
#				tc (UDP: cut, over TCP whole), tc_inside (cut inside of a record), lie (counts), empty
#				(FORMERR without a question), short (two bytes), close (TCP: without an answer), half
#				(TCP: half of it, then the end), trickle (TCP: byte by byte), refuse_tcp
#	fill => n		n A records more
#	ask => 'ip:port'	asks there, and hands on what it gets
# The row '*' is for all other names; without it they do not exist (NXDOMAIN).
package Recursor;

use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use Socket qw(inet_pton AF_INET6 unpack_sockaddr_in);
use Time::HiRes qw(time sleep);
use Dns;
use Node;

sub new
{
	my ($class, $table, %o) = @_;
	my $ip = $o{ip} // Node::_address();
	my $port = $o{port} // Node::_free_port($ip);
	my $self = bless { owner => $$, ip => $ip, port => $port, address => "$ip:$port", tmp => File::Temp->newdir(TMPDIR => 1) }, $class;

	$self->set($table);
	$self->start unless defined $o{start} && !$o{start};
	return $self;
}

sub start
{
	my ($self) = @_;
	my @bind = (LocalAddr => $self->{ip}, LocalPort => $self->{port}, ReuseAddr => 1);
	my $udp = IO::Socket::INET->new(@bind, Proto => 'udp') or die "udp $self->{address}: $!";
	my $tcp = IO::Socket::INET->new(@bind, Listen => 128) or die "tcp $self->{address}: $!";
	my $pid = fork // die "fork: $!";

	if ($pid == 0) {
		eval { $self->_serve($udp, $tcp) };
		warn $@ if $@;
		POSIX::_exit(0);
	}
	$self->{pid} = $pid;
}

sub stop
{
	my ($self) = @_;

	return if !$self->{pid};
	kill KILL => $self->{pid};
	waitpid delete $self->{pid}, 0;
}

sub set { my ($self, $table) = @_; Node::write_file("$self->{tmp}/table", JSON::PP->new->encode($table)); }

sub log
{
	my ($self, $name) = @_;
	open my $f, '<', "$self->{tmp}/log" or return;
	my @all = map { JSON::PP->new->decode($_) } <$f>;

	return defined $name ? grep { lc $_->{name} eq lc "$name." } @all : @all;
}

sub DESTROY
{
	my ($self) = @_;

	return if $self->{owner} != $$;
	local $?;
	$self->stop;
}

# ---- in the child

sub _rr
{
	my ($owner, $type, $ttl, $data) = @_;

	return Dns::name($owner) . pack('n n N n', $Dns::TYPE{$type}, 1, $ttl, length $data) . $data;
}

sub _records
{
	my ($table, $name, $type) = @_;
	my @out;

	for (1 .. 20) {
		my $row = $table->{lc $name} // $table->{'*'} // return (\@out, $_ > 1 ? 0 : 3);
		my $ttl = $row->{ttl} // 60;
		if (defined $row->{CNAME} && $type ne 'CNAME') {
			push @out, _rr($name, 'CNAME', $ttl, Dns::name($row->{CNAME}));
			$name = $row->{CNAME};
			next;
		}
		push @out, _rr($name, 'A', $ttl, pack 'C4', split /\./) for $type =~ /^(A|ANY)$/ ? @{$row->{A} // []} : ();
		push @out, _rr($name, 'AAAA', $ttl, inet_pton(AF_INET6, $_)) for $type =~ /^(AAAA|ANY)$/ ? @{$row->{AAAA} // []} : ();
		push @out, _rr($name, 'TXT', $ttl, pack 'C/a', $row->{TXT}) if $type eq 'TXT' && defined $row->{TXT};
		push @out, _rr($name, $type, $ttl, Dns::name($row->{$type})) if $type =~ /^(PTR|CNAME)$/ && defined $row->{$type};
		push @out, _rr($name, 'A', $ttl, pack 'N', 0x0a000000 + $_) for 1 .. $row->{fill} // 0;
		last;
	}
	return (\@out, 0);
}

sub _parse
{
	my ($p) = @_;
	my ($id, $flags) = unpack 'n2', $p;
	my ($name, $at) = Dns::_name_at($p, 12);
	my $type = unpack 'n', substr $p, $at, 2;
	my %q = (id => $id, flags => $flags, name => $name, question => substr($p, 12, $at + 4 - 12),
		type => { reverse %Dns::TYPE }->{$type} // "TYPE$type", edns => 0, length => length $p);
	my $opt = substr $p, $at + 4;

	if (length $opt >= 11 && unpack('x n', $opt) == 41) {
		@q{qw(edns size)} = (1, unpack 'x3 n', $opt);
		$q{options} = unpack 'H*', substr $opt, 11;
	}
	return \%q;
}

# The messages to send for a question, the row that says how.
sub _answers
{
	my ($table, $q, $proto) = @_;
	(my $name = $q->{name}) =~ s/\.$//;
	my $row = $table->{lc $name} // $table->{'*'} // {};
	my $mode = $row->{mode} // '';
	my ($records, $rcode) = _records($table, $name, $q->{type});
	my ($id, $question, $flags) = ($q->{id}, $q->{question}, 0x8080 | ($q->{flags} & 0x0110));
	my $opt = $q->{edns} ? "\0" . pack('n n N n', 41, 1232, 0, 0) : '';

	($rcode, $records) = ($row->{rcode}, []) if defined $row->{rcode};
	return ($row) if $mode eq 'silent';
	return ($row, pack 'n6', $id, $flags | 1, 0, 0, 0, 0) if $mode eq 'empty';
	return ($row, pack 'n', $id) if $mode eq 'short';
	my $make = sub {
		my ($i, $qu, $f, @rr) = @_;
		return pack('n6', $i, $f | $rcode, 1, scalar @rr, 0, $opt ne '' ? 1 : 0) . $qu . join('', @rr) . $opt;
	};
	my $right = $make->($id, $question, $flags, @$records);
	return ($row, $make->($id ^ 1, $question, $flags, @$records)) if $mode eq 'wrong_id';
	return ($row, $make->($id, Dns::name('other.example') . pack('n2', 1, 1), $flags, @$records)) if $mode eq 'wrong_question';
	return ($row, $make->($id, lc $question, $flags, @$records)) if $mode eq 'wrong_case';
	return ($row, $make->($id ^ 1, $question, $flags, _rr($name, 'A', 1, pack 'C4', 6, 6, 6, 6)),
		$make->($id, Dns::name("x$name") . pack('n2', 1, 1), $flags, _rr("x$name", 'A', 1, pack 'C4', 6, 6, 6, 6)), $right)
		if $mode eq 'forged';
	return ($row, $make->($id, $question, $flags | 0x200)) if $mode eq 'tc' && $proto eq 'udp';
	return ($row, substr $make->($id, $question, $flags | 0x200, @$records), 0, -length($opt) - 3) if $mode eq 'tc_inside' && $proto eq 'udp';
	return ($row, substr($right, 0, 6) . pack('n', 500) . substr $right, 8) if $mode eq 'lie';
	return ($row, $right);
}

sub _serve
{
	my ($self, $udp, $tcp) = @_;
	my $select = IO::Select->new($udp, $tcp);
	my (@later, %in);
	open my $log, '>>', "$self->{tmp}/log" or die "log: $!";
	my $question = sub {
		my ($packet, $proto, $send, $port, $sock) = @_;
		return if length $packet < 17;
		my $q = _parse($packet);
		syswrite $log, JSON::PP->new->canonical->encode({ proto => $proto, port => $port, %$q{qw(id flags name type edns size options length)} }) . "\n";
		open my $f, '<', "$self->{tmp}/table" or die "table: $!";
		my $table = JSON::PP->new->decode(join '', <$f>);
		my ($row, @out) = _answers($table, $q, $proto);
		if ($row->{ask}) {
			my $pid = fork // die "fork: $!";
			return if $pid;
			my $r = Dns::udp(undef, $packet, 20, IO::Socket::INET->new(PeerAddr => $row->{ask}, Proto => 'udp'));
			$send->($r) if defined $r;
			POSIX::_exit(0);
		}
		my $mode = $proto eq 'tcp' ? $row->{mode} // '' : '';
		return push @later, [time + ($row->{delay} // 0), sub { $select->remove($sock); close $sock }] if $mode =~ /^(close|half)$/
			&& ($mode eq 'close' || (@out = (), syswrite $sock, pack 'n C', 100, 1));
		if ($mode eq 'trickle') {
			my ($all, $t) = (Dns::tcp_frame($out[0]), time);
			push @later, map { my $b = $_; [$t += 0.002, sub { syswrite $sock, $b if defined fileno $sock }] } split //, $all;
			return;
		}
		push @later, map { my $m = $_; [time + ($row->{delay} // 0), sub { $send->($m) }] } @out;
	};

	local $SIG{PIPE} = 'IGNORE';
	local $SIG{CHLD} = 'IGNORE';
	for (;;) {
		@later = sort { $a->[0] <=> $b->[0] } @later;
		while (@later && $later[0][0] <= time) {
			(shift @later)->[1]->();
		}
		for my $s ($select->can_read(@later ? $later[0][0] - time > 0 ? $later[0][0] - time : 0 : 5)) {
			if ($s == $udp) {
				my $from = $udp->recv(my $p, 65535) or next;
				$question->($p, 'udp', sub { send $udp, $_[0], 0, $from }, (unpack_sockaddr_in($from))[0]);
			} elsif ($s == $tcp) {
				my $c = $tcp->accept or next;
				$select->add($c);
				$in{$c} = '';
			} else {
				if (!sysread $s, $in{$s}, 65536, length $in{$s}) {
					$select->remove($s);
					delete $in{$s};
					close $s;
					next;
				}
				while (length $in{$s} >= 2 && length $in{$s} >= 2 + unpack 'n', $in{$s}) {
					my $p = substr $in{$s}, 2, unpack 'n', $in{$s};
					substr $in{$s}, 0, 2 + length $p, '';
					$question->($p, 'tcp', sub { syswrite $s, Dns::tcp_frame($_[0]) if defined fileno $s }, $s->peerport, $s);
				}
			}
		}
		# Without a parent there is nobody to answer.
		POSIX::_exit(0) if getppid() != $self->{owner};
	}
}

1;
