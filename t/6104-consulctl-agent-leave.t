#!/usr/bin/perl
# consulctl agent: signals by Consul's rules, leaving, exit codes.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep time);
use lib "$ENV{SRCDIR}/t/lib";
use Node;

sub gone { my (@pids) = @_; return !Node::alive(@pids); }

my $n = Node->new(wait => 'agent');

# ---- a server: neither signal leaves

for my $signal (qw(INT TERM)) {
	is $n->stop($signal), 1, "SIG$signal to a server: exit 1";
	unlike $n->log_text, qr/Gracefully shutting down/, 'it does not leave';
	$n->start;
}

# ---- questions that wait do not hold it up

my @waiting = map {
	my $pid = fork // die;
	if ($pid == 0) {
		$n->http('GET', "/v1/kv/none$_?index=1000000&wait=60s");
		POSIX::_exit(0);
	}
	$pid;
} 1 .. 5;
ok $n->wait_for(sub { ($n->ctl('info'))[1] =~ /blocking_queries = 5/ }), 'five blocking queries';
my $began = time;
is $n->stop, 1, 'a server with blocking queries stops';
cmp_ok time - $began, '<', 2, 'within 2 s';
waitpid $_, 0 for @waiting;
$n->start;

# ---- unless told to

my %p = $n->pids;
is(($n->http('PUT', '/v1/agent/leave'))[0], 200, 'leave over HTTP is answered');
is $n->wait_exit, 0, 'and ends with exit 0';
like $n->log_text, qr/agent: Graceful exit completed/, 'the log tells';
ok gone(values %p), 'no daemon is left';

$n->write_config({ leave_on_terminate => JSON::PP::true, skip_leave_on_interrupt => JSON::PP::false });
for my $signal (qw(INT TERM)) {
	$n->start;
	is $n->stop($signal), 0, "SIG$signal with leaving configured: exit 0";
	like $n->log_text, qr/agent: Graceful exit completed/, 'it leaves';
}

# ---- a second signal does not wait

$n->start;
%p = $n->pids;
kill 'STOP', $p{gossipd};
$n->signal('TERM');
ok $n->wait_log(qr/Gracefully shutting down agent/), 'a leave that hangs';
$n->signal('TERM');
my $t0 = time;
is $n->wait_exit, 1, 'a second signal: exit 1';
cmp_ok time - $t0, '<', 1, 'at once';
like $n->log_text, qr/Caught second signal, Exiting/, 'the log tells';
ok gone(values %p), 'no daemon is left';

# ---- one daemon that does not stop holds nobody up for long

$n->write_config({ leave_on_terminate => JSON::PP::false });
$n->start;
%p = $n->pids;
kill 'STOP', $p{httpd};
$t0 = time;
is $n->stop('TERM'), 1, 'a daemon that hangs while all are stopped';
cmp_ok time - $t0, '<', 2.5, 'is killed';
ok gone(values %p), 'no daemon is left';
undef $n;

# ---- a client leaves on both, unless told otherwise

$n = Node->new(start => 0, wait => 'agent', config => { server => JSON::PP::false, bootstrap_expect => 0 });
for my $signal (qw(INT TERM)) {
	$n->start;
	is $n->stop($signal), 0, "SIG$signal to a client: exit 0";
	like $n->log_text, qr/agent: Graceful exit completed/, 'it leaves';
	unlike $n->log_text, qr/Raft configuration|Waiting to drain/, 'only the gossip';
}
$n->write_config({ leave_on_terminate => JSON::PP::false, skip_leave_on_interrupt => JSON::PP::true });
for my $signal (qw(INT TERM)) {
	$n->start;
	is $n->stop($signal), 1, "SIG$signal to a client that is told to stay: exit 1";
	like $n->log_text, qr/agent: Graceful shutdown disabled\. Exiting/, 'it just stops';
}

# ---- restarting gossipd is no leave

$n->start;
%p = $n->pids;
kill 'TERM', $p{gossipd};
ok $n->wait_for(sub { my %now = $n->pids; $now{gossipd} && $now{gossipd} != $p{gossipd} }), 'gossipd was told to end, and is there again';
ok $n->wait_for(sub { ($n->ctl('members'))[1] =~ /^\S+ .* alive +client /m }), 'the node is a member';
$n->stop('TERM');

# ---- a server alone does not wait for others

$n = Node->new(wait => 'agent', config => { leave_on_terminate => JSON::PP::true });
is $n->stop('TERM'), 0, 'a server alone leaves';
unlike $n->log_text, qr/Waiting to drain/, 'without waiting';

done_testing;
