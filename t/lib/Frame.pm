# Frame.pm - one daemon's socket for a test script: requests, replies, and a
# daemon or a peer of it started alone.
#
#	my $d = Frame::Daemon->new('gossipd', { node_name => 'n1', ... });
#	my ($meta, $members) = $d->ask('gossip.members');
#
# Operations and their numbers come from lib/ops.def.
package Frame;

use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP ();
use Socket qw(SOCK_STREAM);

our $BUILDDIR = $ENV{BUILDDIR} // '.';
our $SRCDIR = $ENV{SRCDIR} // '.';
our %OP;
our %NAME;

sub load_ops
{
	open my $f, '<', "$SRCDIR/lib/ops.def" or die "ops.def: $!";
	while (<$f>) {
		next unless /^OP\((\d+),\s*\w+,\s*"([^"]+)"/;
		$OP{$2} = $1;
		$NAME{$1} = $2;
	}
}
load_ops();

# ---- msgpack, as much as records need

sub pack_value
{
	my ($v) = @_;

	return "\xc0" if !defined $v;
	return $v ? "\xc3" : "\xc2" if JSON::PP::is_bool($v);
	if (ref $v eq 'ARRAY') {
		return pack('Cn', 0xdc, scalar @$v) . join '', map { pack_value($_) } @$v;
	}
	if (ref $v eq 'HASH') {
		return pack('Cn', 0xde, scalar keys %$v) . join '', map { pack_str($_) . pack_value($v->{$_}) } sort keys %$v;
	}
	return pack('CQ>', 0xcf, $v) if !ref $v && $v =~ /^\d{1,20}$/ && !is_text($v);
	return pack('Cq>', 0xd3, $v) if !ref $v && $v =~ /^-\d{1,18}$/ && !is_text($v);
	return pack('Cd>', 0xcb, $v) if !ref $v && !is_text($v);
	return pack_str($v);
}

# A number that was written as a string stays one.
sub is_text
{
	my ($v) = @_;

	return JSON::PP->new->allow_nonref->encode($v) =~ /^"/;
}

sub pack_str
{
	my ($s) = @_;

	utf8::encode($s) if utf8::is_utf8($s);
	return pack('CN', 0xdb, length $s) . $s;
}

sub unpack_value
{
	my ($in) = @_;		# reference to the bytes, consumed
	my $t = ord substr $$in, 0, 1, '';
	my $take = sub { my ($n) = @_; die "short msgpack" if length $$in < $n; substr $$in, 0, $n, '' };
	my $list = sub { [map { unpack_value($in) } 1 .. $_[0]] };
	my $map = sub { my %h; for (1 .. $_[0]) { my $k = unpack_value($in); $h{$k} = unpack_value($in) } \%h };
	my %size = (0xcc => ['C', 1], 0xcd => ['n', 2], 0xce => ['N', 4], 0xcf => ['Q>', 8],
		0xd0 => ['c', 1], 0xd1 => ['s>', 2], 0xd2 => ['l>', 4], 0xd3 => ['q>', 8], 0xca => ['f>', 4], 0xcb => ['d>', 8]);
	my %len = (0xd9 => ['C', 1], 0xda => ['n', 2], 0xdb => ['N', 4], 0xc4 => ['C', 1], 0xc5 => ['n', 2], 0xc6 => ['N', 4]);

	return $t if $t < 0x80;
	return $t - 256 if $t >= 0xe0;
	return $map->($t & 15) if $t < 0x90;
	return $list->($t & 15) if $t < 0xa0;
	return $take->($t & 31) if $t < 0xc0;
	return undef if $t == 0xc0;
	return $t == 0xc3 ? JSON::PP::true : JSON::PP::false if $t == 0xc2 || $t == 0xc3;
	return unpack $size{$t}[0], $take->($size{$t}[1]) if $size{$t};
	return $take->(unpack $len{$t}[0], $take->($len{$t}[1])) if $len{$t};
	return $list->(unpack 'n', $take->(2)) if $t == 0xdc;
	return $list->(unpack 'N', $take->(4)) if $t == 0xdd;
	return $map->(unpack 'n', $take->(2)) if $t == 0xde;
	return $map->(unpack 'N', $take->(4)) if $t == 0xdf;
	die sprintf 'msgpack type 0x%02x', $t;
}

# ---- frames

sub send_frame
{
	my ($sock, $kind, $flags, $op, $id, $body) = @_;
	my $bytes = pack('NCCnN', length $body, $kind, $flags, $op, $id) . $body;

	while (length $bytes) {
		my $n = syswrite $sock, $bytes;
		die "write: $!" if !defined $n;
		substr $bytes, 0, $n, '';
	}
}

sub read_bytes
{
	my ($sock, $want, $timeout) = @_;
	my $got = '';

	while (length $got < $want) {
		IO::Select->new($sock)->can_read($timeout // 30) or return undef;
		my $n = sysread $sock, $got, $want - length $got, length $got;
		return undef if !$n;
	}
	return $got;
}

# kind, flags, op, id, body; nothing at the end or after $timeout seconds
sub read_frame
{
	my ($sock, $timeout) = @_;
	my $head = read_bytes($sock, 12, $timeout) // return;
	my ($len, $kind, $flags, $op, $id) = unpack 'NCCnN', $head;
	my $body = read_bytes($sock, $len, $timeout) // return;

	return ($kind, $flags, $op, $id, $body);
}

package Frame::Client;

use strict;
use warnings;

# A connection to the socket $path; retried for a while, since the daemon may be starting.
sub new
{
	my ($class, $path) = @_;

	for (1 .. 300) {
		my $s = IO::Socket::UNIX->new(Type => Socket::SOCK_STREAM(), Peer => $path);
		return bless { sock => $s, id => 0 }, $class if $s;
		select undef, undef, undef, 0.05;
	}
	die "$path: $!";
}

# Send a request; its id.
sub start
{
	my ($self, $op, $request, $options) = @_;
	my $number = $Frame::OP{$op} // die "no operation $op";
	my $body = Frame::pack_value($options // {});

	$body .= Frame::pack_value($request) if defined $request;
	Frame::send_frame($self->{sock}, 1, 0, $number, ++$self->{id}, $body);
	return $self->{id};
}

# The next reply: (id, meta, payload), or (id, undef, {Code, Text}); nothing when none came in time.
sub reply
{
	my ($self, $timeout) = @_;
	my (undef, $flags, undef, $id, $body) = Frame::read_frame($self->{sock}, $timeout) or return;

	return ($id, undef, Frame::unpack_value(\$body)) if $flags & 1;
	my $meta = Frame::unpack_value(\$body);
	return ($id, $meta, Frame::unpack_value(\$body));
}

# Ask and wait: (meta, payload), or (undef, {Code, Text}).
sub ask
{
	my ($self, $op, $request, $options) = @_;

	$self->start($op, $request, $options);
	my ($id, $meta, $payload) = $self->reply or die "no answer to $op";
	return ($meta, $payload);
}

package Frame::Tcp;

use strict;
use warnings;
use IO::Socket::IP;

our @ISA = ('Frame::Client');

# A connection to a server's port for other servers. hello() comes first.
sub new
{
	my ($class, $ip, $port) = @_;

	for (1 .. 100) {
		my $s = IO::Socket::IP->new(PeerHost => $ip, PeerPort => $port, Type => Socket::SOCK_STREAM());
		return bless { sock => $s, id => 0 }, $class if $s;
		select undef, undef, undef, 0.05;
	}
	die "$ip:$port: $!";
}

# Say who is there: (its PeerHello), or (undef, {Code, Text}).
sub hello
{
	my ($self, %h) = @_;
	my ($meta, $payload) = $self->ask('peer.hello', { Protocol => 3, Purpose => 'raft', Datacenter => 'dc1', %h });

	return defined $meta ? ($payload) : (undef, $payload);
}

# A message without an answer; the body may be given as bytes.
sub post
{
	my ($self, $op, $record) = @_;
	my $body = ref $record ? "\x80" . Frame::pack_value($record) : $record;

	Frame::send_frame($self->{sock}, 6, 0, $Frame::OP{$op}, 0, $body);
}

# Bytes as they are; false when the other end has closed.
sub raw
{
	my ($self, $bytes) = @_;
	local $SIG{PIPE} = 'IGNORE';

	while (length $bytes) {
		my $n = syswrite $self->{sock}, $bytes;
		return 0 if !defined $n;
		substr $bytes, 0, $n, '';
	}
	return 1;
}

# What comes until it is closed; undef when it stays open for $timeout seconds.
sub drain
{
	my ($self, $timeout) = @_;
	my $got = '';

	while (IO::Select->new($self->{sock})->can_read($timeout // 3)) {
		my $n = sysread $self->{sock}, $got, 65536, length $got;
		return $got if !$n;
	}
	return undef;
}

package Frame::Gossip;

use strict;
use warnings;
use POSIX ();

# A gossipd that is made up, for a raftd in the directory $dir: it says what it is told.
#
#	my $g = Frame::Gossip->new($dir, Frame::Gossip::server(...), Frame::Gossip::client(...));
#	$g->set(@members);
#	$g->events;		# what was to be sent to all, as "name payload"
sub new
{
	my ($class, $dir, @members) = @_;
	my $self = bless { dir => "$dir", owner => $$, index => 1 }, $class;

	$self->start(@members);
	return $self;
}

sub start
{
	my ($self, @members) = @_;
	my $path = "$self->{dir}/gossipd.sock";

	unlink $path;
	my $listen = IO::Socket::UNIX->new(Type => Socket::SOCK_STREAM(), Local => $path, Listen => 64) or die "$path: $!";
	pipe my $in, $self->{to} or die "pipe: $!";
	$self->{pid} = fork // die "fork: $!";
	if ($self->{pid} == 0) {
		close $self->{to};
		eval { serve($self, $listen, $in) };
		print STDERR $@ if $@;
		POSIX::_exit(0);
	}
	$self->{to}->autoflush(1);
	$self->set(@members);
}

# These are the members from now on.
sub set
{
	my ($self, @members) = @_;

	$self->{members} = [@members];
	print { $self->{to} } JSON::PP->new->canonical->encode({ index => ++$self->{index}, members => \@members }), "\n";
}

# The member of this name with these fields changed (Status => 4).
sub change
{
	my ($self, $name, %change) = @_;

	$self->set(map { $_->{Name} eq $name ? { %$_, %change } : $_ } @{$self->{members}});
}

sub member
{
	my ($name, $ip, %o) = @_;
	my %tags = (dc => 'dc1', vsn => '2', vsn_min => '2', vsn_max => '3', build => '1.10.12:', id => '', segment => '', %{$o{tags} // {}});

	delete $o{tags};
	return { Name => $name, Addr => $ip, Port => 8301, Status => 1, Tags => { map { $_ => "$tags{$_}" } grep { defined $tags{$_} } keys %tags },
		ProtocolMin => 1, ProtocolMax => 5, ProtocolCur => 2, DelegateMin => 2, DelegateMax => 5, DelegateCur => 4, %o };
}
sub client { my ($name, $ip, %o) = @_; return member($name, $ip, %o, tags => { role => 'node', %{$o{tags} // {}} }) }
sub server
{
	my ($name, $ip, $port, %o) = @_;

	return member($name, $ip, %o, tags => { role => 'consul', port => $port, raft_vsn => 3, ft_fs => 1, ft_si => 1, ft_consulctl => 1,
		%{$o{tags} // {}} });
}

sub answer
{
	my ($state, $c, $id) = @_;
	my $body = Frame::pack_value({ Index => $state->{index} }) . Frame::pack_value($state->{members});

	return eval { Frame::send_frame($c, 2, 0, $Frame::OP{'gossip.members'}, $id, $body); 1 };
}

sub request
{
	my ($self, $state, $waiting, $c) = @_;
	my ($kind, undef, $op, $id, $body) = Frame::read_frame($c, 5) or return 0;
	my $name = $Frame::NAME{$op} // '';

	@$waiting = grep { $_->[0] != $c || $_->[1] != $id } @$waiting if $kind == 4;
	return 1 if $kind != 1;
	my $options = Frame::unpack_value(\$body);
	if ($name eq 'gossip.members') {
		return answer($state, $c, $id) if !defined $state->{index} ? 0 : ($options->{MinIndex} // 0) != $state->{index};
		push @$waiting, [$c, $id];
		return 1;
	}
	my $what = length $body ? Frame::unpack_value(\$body) : {};
	if ($name eq 'gossip.serf_event') {
		open my $f, '>>', "$self->{dir}/events" or die "events: $!";
		print $f "$what->{Name} $what->{Payload}\n";
		close $f;
		return eval { Frame::send_frame($c, 2, 0, $op, $id, Frame::pack_value({}) . Frame::pack_value(undef)); 1 };
	}
	return eval { Frame::send_frame($c, 2, 1, $op, $id, Frame::pack_value({ Code => 500, Text => "no $name here" })); 1 };
}

sub serve
{
	my ($self, $listen, $in) = @_;
	my $select = IO::Select->new($listen, $in);
	my ($state, @waiting, $text) = ({});

	$SIG{PIPE} = 'IGNORE';
	while (1) {
		for my $s ($select->can_read) {
			if ($s == $listen) {
				my $c = $listen->accept or next;
				$select->add($c);
			} elsif ($s == $in) {
				sysread($in, $text, 1 << 20, length($text // '')) or return;
				while ($text =~ s/^(.*)\n//) {
					$state = JSON::PP::decode_json($1);
				}
				answer($state, @$_) for splice @waiting;
			} elsif (!request($self, $state, \@waiting, $s)) {
				@waiting = grep { $_->[0] != $s } @waiting;
				$select->remove($s);
				close $s;
			}
		}
	}
}

sub events
{
	my ($self) = @_;

	open my $f, '<', "$self->{dir}/events" or return ();
	chomp(my @lines = <$f>);
	return @lines;
}

# It is killed, and may be started again.
sub stop
{
	my ($self) = @_;

	return if !$self->{pid};
	local $?;
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	delete $self->{pid};
	close $self->{to};
	unlink "$self->{dir}/gossipd.sock";
}

sub DESTROY
{
	my ($self) = @_;

	$self->stop if $self->{owner} == $$;
}

package Frame::Daemon;

use strict;
use warnings;
use File::Temp ();
use POSIX ();

our @ISA = ('Frame::Client');

# Start a daemon alone with this slice; ready => 0: do not wait for its socket.
sub new
{
	my ($class, $name, $slice, %o) = @_;
	my $tmp = $o{tmp} // File::Temp->newdir("$name-$$-XXXXXX", TMPDIR => 1);
	my $self = bless { name => $name, tmp => $tmp, dir => "$tmp", owner => $$, id => 0 }, $class;

	mkdir "$tmp/config";
	$self->write_slice($slice);
	$self->spawn;
	$self->connect unless defined $o{ready} && !$o{ready};
	return $self;
}

sub write_slice
{
	my ($self, $slice) = @_;
	my $path = "$self->{dir}/config/$self->{name}.json";

	# Its port for other servers must not be that of a test beside us.
	$slice = { bind_addr => sprintf('127.%d.%d.%d', 64 + ($$ >> 16 & 63), $$ >> 8 & 255, 1 + ($$ & 127)), %$slice } if $self->{name} eq 'raftd';
	open my $f, '>', "$path.tmp" or die "$path: $!";
	print $f JSON::PP->new->canonical->encode($slice);
	close $f;
	rename "$path.tmp", $path;
}

sub spawn
{
	my ($self) = @_;
	my $pid = fork // die "fork: $!";

	if ($pid == 0) {
		open STDERR, '>>', "$self->{dir}/log";
		open STDIN, '<', '/dev/null';
		exec("$Frame::BUILDDIR/$self->{name}/$self->{name}", '-c', "$self->{dir}/config/$self->{name}.json") or
			print STDERR "$self->{name}: $!\n";
		POSIX::_exit(127);
	}
	$self->{pid} = $pid;
}

sub connect
{
	my ($self) = @_;
	my $c = Frame::Client->new("$self->{dir}/$self->{name}.sock");

	$self->{sock} = $c->{sock};
}

sub log
{
	my ($self) = @_;

	open my $f, '<', "$self->{dir}/log" or return '';
	local $/;
	return <$f> // '';
}

# Wait until the log matches.
sub wait_log
{
	my ($self, $re, $seconds) = @_;

	for (1 .. 20 * ($seconds // 30)) {
		return 1 if $self->log =~ $re;
		select undef, undef, undef, 0.05;
	}
	return 0;
}

# End it with a signal and return its wait status.
sub stop
{
	my ($self, $signal) = @_;

	return if !$self->{pid};
	kill $signal // 'TERM', $self->{pid};
	return $self->wait;
}

sub wait
{
	my ($self) = @_;

	waitpid $self->{pid}, 0;
	delete $self->{pid};
	return $?;
}

sub DESTROY
{
	my ($self) = @_;

	return if $self->{owner} != $$;
	local $?;
	$self->stop('KILL');
}

1;
