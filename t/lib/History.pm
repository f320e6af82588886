# History.pm - concurrent clients that write down what they asked and what they were told.
#
#	my $h = History->start($cluster, clients => 8, keys => 4);
#	... faults ...
#	my $r = $h->stop;	# { ops, ok, unknown, refused, gap_ms }
#	is($h->check, '', 'linearizable');
#
# Each client is a process that puts, gets (default and consistent), and
# compares-and-sets keys of one small set through servers in turn, with a
# bounded time for each request; what it does not know is written down as
# unknown. Values are never written twice. The history's format is that of
# t/sim/linear, which judges it.
package History;

use strict;
use warnings;
use Cluster;
use Errno qw(EINTR);
use IO::Socket::INET;
use MIME::Base64 ();
use Node;
use POSIX ();
use Time::HiRes qw(sleep time clock_gettime CLOCK_MONOTONIC);

# start($cluster, clients => 8, keys => 4, timeout => 10, seed => N, servers => [nodes])
sub start
{
	my ($class, $c, %o) = @_;
	my $self = bless { owner => $$, clients => 8, keys => 4, timeout => 10, prefix => 'h' . int(rand 1e9), %o }, $class;

	$self->{seed} //= int rand 2**31;
	$self->{servers} //= [$c->nodes];
	$self->{tmp} = File::Temp->newdir("history-$$-XXXXXX", TMPDIR => 1);
	pipe(my $stop_in, $self->{stop}) or die "pipe: $!";
	for my $i (1 .. $self->{clients}) {
		my $pid = fork // die "fork: $!";
		if ($pid == 0) {
			close $self->{stop};
			eval { $self->_client($i, $stop_in); 1 } or warn $@;
			POSIX::_exit(0);
		}
		push @{$self->{pids}}, $pid;
	}
	close $stop_in;
	return $self;
}

sub _now { return int(clock_gettime(CLOCK_MONOTONIC) * 1e9) }

# One request on a kept connection, never repeated (HTTP::Tiny would send a PUT again). (status, body); 599: nobody knows.
sub _ask
{
	my ($self, $conns, $node, $method, $path, $body) = @_;
	my $so = delete $conns->{$node} // IO::Socket::INET->new(PeerAddr => $node->{ip}, PeerPort => $node->{ports}{http},
		Timeout => $self->{timeout});
	my ($in, $end) = ('', time + $self->{timeout});

	return (599, '') if !$so;
	$so->blocking(0);
	$body //= '';
	my $out = "$method $path HTTP/1.1\r\nHost: h\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
	defined syswrite $so, $out or return (599, '');
	while ((my $left = $end - time) > 0) {
		my $r = '';

		vec($r, fileno $so, 1) = 1;
		select($r, undef, undef, $left) > 0 or next;
		my $n = sysread $so, $in, 65536, length $in;
		next if !defined $n && $!{EAGAIN};
		return (599, '') if !$n;
		next if $in !~ /^HTTP\/1\.1 (\d+)[^\n]*\n(.*?)\r\n\r\n(.*)/s;
		my ($status, $headers, $got) = ($1, $2, $3);
		my ($length) = $headers =~ /^Content-Length:\s*(\d+)/mi;
		next if !defined $length || length $got < $length;
		$conns->{$node} = $so unless $headers =~ /^Connection:\s*close/mi;
		return ($status, substr $got, 0, $length);
	}
	return (599, '');
}

# What a GET found: undef for an absent key, or (value, ModifyIndex).
sub _value
{
	my ($status, $body) = @_;

	return () if $status == 404;
	my ($v) = $body =~ /"Value":\s*"([^"]*)"/;
	my ($index) = $body =~ /"ModifyIndex":\s*(\d+)/;
	return (MIME::Base64::decode_base64($v // ''), $index);
}

sub _stopped
{
	my ($in) = @_;
	my $r = '';

	vec($r, fileno $in, 1) = 1;
	return select($r, undef, undef, 0) > 0;
}

sub _client
{
	my ($self, $i, $stop) = @_;
	my @servers = @{$self->{servers}};
	my (%conns, $n);

	srand($self->{seed} + $i);
	open my $out, '>', "$self->{tmp}/$i" or die "$self->{tmp}/$i: $!";
	$out->autoflush(1);
	while (!_stopped($stop)) {
		my $node = $servers[rand @servers];
		my $key = 'k' . int rand $self->{keys};
		my $path = "/v1/kv/$self->{prefix}/$key";
		my $dice = rand;
		my ($began, $line, $status, $body);
		my $value = "c$i-" . ++$n;

		if ($dice < 0.45) {
			$began = _now();
			($status, $body) = $self->_ask(\%conns, $node, 'GET', $path . ($dice < 0.15 ? '?consistent' : ''));
			# A read that failed tells nothing.
			next if $status != 200 && $status != 404;
			my ($v) = _value($status, $body);
			$line = [$began, _now(), $key, 'get', '-', $v // '-'];
		} elsif ($dice < 0.8) {
			$began = _now();
			($status, $body) = $self->_ask(\%conns, $node, 'PUT', $path, $value);
			$line = [$began, $status == 200 ? _now() : '?', $key, 'put', $value, $status == 200 ? 'ok' : '?'];
		} else {
			($status, $body) = $self->_ask(\%conns, $node, 'GET', $path);
			next if $status != 200;
			my ($old, $index) = _value($status, $body);
			$began = _now();
			($status, $body) = $self->_ask(\%conns, $node, 'PUT', "$path?cas=$index", $value);
			my $known = $status == 200;
			$line = [$began, $known ? _now() : '?', $key, 'cas', "$old,$value", !$known ? '?' : $body =~ /true/ ? 'ok' : 'fail'];
		}
		print $out join(' ', $i, @$line), "\n";
		sleep 0.02 if $status != 200 && $status != 404;
	}
	close $out;
}

# End the clients. Counts, and the longest time without any write that succeeded.
sub stop
{
	my ($self) = @_;
	my %r = (ops => 0, ok => 0, unknown => 0, gap_ms => 0);
	my @done;

	close delete $self->{stop} if $self->{stop};
	for my $pid (@{$self->{pids}}) {
		1 while waitpid($pid, 0) < 0 && $! == EINTR;
	}
	$self->{pids} = [];
	$self->{file} = "$self->{tmp}/all";
	open my $all, '>', $self->{file} or die "$self->{file}: $!";
	for my $i (1 .. $self->{clients}) {
		open my $in, '<', "$self->{tmp}/$i" or next;
		while (<$in>) {
			print $all $_;
			my (undef, undef, $end, undef, $op) = split ' ';
			$r{ops}++;
			$r{$end eq '?' ? 'unknown' : 'ok'}++;
			push @done, $end if $end ne '?' && $op ne 'get';
		}
	}
	close $all or die "$self->{file}: $!";
	@done = sort { $a <=> $b } @done;
	for my $i (1 .. $#done) {
		my $gap = ($done[$i] - $done[$i - 1]) / 1e6;
		$r{gap_ms} = int $gap if $gap > $r{gap_ms};
	}
	return \%r;
}

# '' when the history is linearizable, else what the checker said. TEST_KEEP=DIR keeps the history.
sub check
{
	my ($self) = @_;
	my ($rc, $out, $err) = Node::_run({}, "$Node::BUILDDIR/t/sim/linear", $self->{file});

	return '' if $rc == 0;
	system 'cp', $self->{file}, "$ENV{TEST_KEEP}/history-$self->{seed}" if $ENV{TEST_KEEP};
	return "seed=$self->{seed} exit=$rc $out$err";
}

sub DESTROY
{
	my ($self) = @_;

	return if $$ != $self->{owner};
	local ($?, $@, $!);
	close delete $self->{stop} if $self->{stop};
	kill 'KILL', $_ for @{$self->{pids}};
	waitpid($_, 0) for @{$self->{pids}};
}

1;
