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

# ---- a client leaves on SIGTERM

$n = Node->new(wait => 'agent', config => { server => JSON::PP::false, bootstrap_expect => 0 });
is $n->stop('TERM'), 0, 'SIGTERM to a client: exit 0';
like $n->log_text, qr/agent: Graceful exit completed/, 'it leaves';

done_testing;
