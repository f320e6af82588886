#!/usr/bin/perl
# consulctl agent: what dies is started again and no connection is refused meanwhile; what hangs is killed; when the
# supervisor is killed everything ends, and nobody holds its standard output any more.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep time);
use lib "$ENV{SRCDIR}/t/lib";
use Node;

my $n = Node->new(wait => 'agent', env => { WATCHDOG_USEC => 2_000_000 });
my %p = $n->pids;

sub connects
{
	my ($port) = @_;
	return IO::Socket::INET->new(PeerAddr => $n->{ip}, PeerPort => $port, Timeout => 5);
}

# ---- SIGKILL

for my $name (qw(httpd dnsd checkd gossipd raftd)) {
	my %before = $n->pids;
	my $t0 = time;
	my ($refused, $back) = (0, undef);
	kill 'KILL', $before{$name};
	while (!$back && time - $t0 < 10) {
		for my $port (@{$n->{ports}}{qw(http dns)}) {
			connects($port) or $refused++;
		}
		my %now = $n->pids;
		$back = $now{$name} && $now{$name} != $before{$name};
	}
	my $took = time - $t0;
	ok $back, "$name is started again";
	cmp_ok $took, '<', 1, 'within a second';
	is $refused, 0, 'no connection was refused';
	like $n->log_text, qr/agent: Daemon died: daemon=$name pid=$before{$name} signal="Killed"/, 'the log tells';
	my %after = $n->pids;
	is join(' ', map { $after{$_} } grep { $_ ne $name } sort keys %after),
	    join(' ', map { $before{$_} } grep { $_ ne $name } sort keys %before), 'the others were left alone';
}
ok $n->wait_for(sub { my ($s, undef, $b) = $n->http('GET', '/v1/status/leader'); $s == 200 && $b =~ /:/ }), 'the node works again';
my %now = $n->pids;
like Node::_slurp("/proc/$now{httpd}/environ"), qr/(^|\0)LISTEN_FDS=[1-9]\d*\0/, 'listeners were handed back';

# ---- a daemon that hangs

kill 'STOP', $now{dnsd};
ok $n->wait_for(sub { my %x = $n->pids; $x{dnsd} && $x{dnsd} != $now{dnsd} }, 15), 'a daemon that hangs is killed and started again';
like $n->log_text, qr/agent: Daemon hangs, killing it: daemon=dnsd/, 'the log tells';
undef $n;

# ---- the supervisor is killed

$n = Node->new(start => 0, wait => 'none', dev => 1, args => ['-enable-script-checks'],
    config => { check => { name => 'long', args => ['sleep', "31$$"], interval => '1s', timeout => '500s' } });
my @cmd = $n->command;
$ENV{TMPDIR} = $n->{dir};
my $pid = open my $out, '-|', @cmd or die "cannot run: $!";
my ($text, $end) = ('', time + 30);
while (time < $end && $text !~ /All daemons are ready/ && IO::Select->new($out)->can_read($end - time)) {
	sysread($out, $text, 65536, length $text) or last;
}
like $text, qr/All daemons are ready/, 'an agent on a pipe';
my @kids = split ' ', Node::_slurp("/proc/$pid/task/$pid/children");
my $sleeper = sub { grep { Node::_slurp("$_/cmdline") eq "sleep\00031$$\0" } glob '/proc/[0-9]*' };
ok $n->wait_for(sub { scalar $sleeper->() }, 10), 'a script check runs';
kill 'KILL', $pid;
my $t0 = time;
my $eof = 0;
while (!$eof && time - $t0 < 10 && IO::Select->new($out)->can_read(1)) {
	$eof = !sysread $out, $text, 65536;
}
ok $eof, 'nobody holds its standard output';
cmp_ok time - $t0, '<', 2, 'after 2 s';
ok $n->wait_for(sub { !Node::alive(@kids) }, 2), 'no daemon is left';
ok $n->wait_for(sub { !$sleeper->() }, 2), 'nor the script';
waitpid $pid, 0;
close $out;

done_testing;
