#!/usr/bin/perl
# consulctl lock against a real node: who waits, who holds, and what is left behind.
use strict;
use warnings;
no warnings 'portable';
use lib "$ENV{SRCDIR}/t/lib";
use Ctl;
use File::Temp ();
use Node;
use Test::More;
use Time::HiRes qw(sleep time);

my $n = Node->new(dev => 1);
my $addr = "$n->{ip}:$n->{ports}{http}";
my $o = { addr => $addr };
my $dir = File::Temp->newdir;

sub clean
{
	my ($name) = @_;

	is_deeply($n->get_json('/v1/session/list'), [], "$name: no session is left");
	is(($n->http('GET', '/v1/kv/?recurse'))[0], 404, "$name: no key is left");
}

sub holders { my ($status, undef, $body) = $n->http('GET', "/v1/kv/$_[0]/.lock"); return $status == 200 && $body =~ /"Session"/; }

# A session needs its node in the catalog, which the leader sees to.
$n->wait_for(sub { @{$n->get_json("/v1/health/node/$n->{name}")} });

# The plain case
is_deeply([ctl($o, 'lock', 'a', 'echo $CONSUL_LOCK_HELD; exit 3')], [0, "true\n", "Error running handler: exit status 3\n"], 'a child runs');
is((ctl($o, qw(lock -child-exit-code a), 'exit 3'))[0], 2, '-child-exit-code');
is((ctl($o, qw(lock -child-exit-code a true)))[0], 0, 'of a child that succeeds');
is_deeply([ctl($o, qw(lock -shell=false a echo $HOME), 'b  c')], [0, "\$HOME b  c\n", ''], '-shell=false');
is_deeply([ctl($o, qw(lock -shell=false a /nowhere/x))], [0, '', "Error starting handler: /nowhere/x: no such file or directory\n"],
    'a child that cannot be started');
is_deeply([ctl({ %$o, stdin => "in\n" }, qw(lock -pass-stdin a cat))], [0, "in\n", ''], '-pass-stdin');
is_deeply([ctl({ %$o, stdin => "in\n" }, qw(lock a cat))], [0, '', ''], 'no standard input otherwise');
is((ctl($o, qw(lock -verbose a true)))[1], "Setting up lock at path: a/.lock\nAttempting lock acquisition\nStarting handler\n" .
    "Child terminated, releasing lock\nCleanup succeeded\n", '-verbose');
clean('after all that');

# Wrong usage
for my $case ([ 'Key prefix and child command must be specified', 'a' ], [ 'Lock holder limit must be positive', qw(-n=0 a true) ],
	[ 'Timeout must be positive', qw(-timeout=-1s a true) ], [ "Number for 'monitor-retry' must be >= 0", qw(-monitor-retry=-1 a true) ]) {
	my ($sentence, @args) = @$case;

	is_deeply([ctl($o, 'lock', @args)], [1, '', "$sentence\n"], $sentence);
}
like((ctl({ addr => '127.0.0.1:1' }, qw(lock a true)))[2], qr/^Error querying Consul agent: Get .*connection refused$/, 'no agent');

# Two want it
{
	my $first = ctl_start($o, 'lock', 'two', "touch $dir/held; while [ ! -e $dir/go ]; do sleep 0.01; done; echo first >>$dir/order");

	ok(wait_until(sub { -e "$dir/held" }), 'the first holds it');
	my ($e) = @{$n->get_json('/v1/kv/two/.lock')};
	is($e->{Flags}, 0x2ddccbc058a50c18, 'with the flags that every client of Consul knows');
	my ($s) = @{$n->get_json("/v1/session/info/$e->{Session}")};
	is($s->{TTL}, '15s', 'by a session of 15 s');
	like($s->{Name}, qr/^Consul lock for 'touch .*' at 'two'$/, 'that says what for');
	my $second = ctl_start($o, qw(lock -name=second two), "echo second >>$dir/order");
	ok(wait_until(sub { @{$n->get_json('/v1/session/list')} == 2 }), 'the second waits');
	is((ctl($o, qw(lock -timeout=300ms two true)))[2], "Shutdown triggered or timeout during lock acquisition\n", '-timeout gives up');
	is(@{$n->get_json('/v1/session/list')}, 2, 'and takes its session along');
	sleep 0.2;
	is(slurp("$dir/order"), '', 'the second still waits');
	spew("$dir/go", '');
	is(($first->finish)[0], 0, 'the first ends');
	is(($second->finish)[0], 0, 'the second too');
	is(slurp("$dir/order"), "first\nsecond\n", 'one after the other');
	clean('two that wanted it');
}

# An interrupt ends the child, all of it, and gives the lock back
for my $sig (qw(INT TERM)) {
	my $job = ctl_start($o, qw(lock sig), "sleep 1000 & echo \$! >$dir/pid.$sig; trap 'echo ended >$dir/end.$sig' TERM; wait");

	ok(wait_until(sub { slurp("$dir/pid.$sig") =~ /\n/ }), "a child runs (SIG$sig)");
	ok(holders('sig'), 'under the lock');
	$job->signal($sig);
	is(($job->finish)[0], 0, 'ends well');
	is(slurp("$dir/end.$sig"), "ended\n", 'the child was asked to end');
	my $pid = slurp("$dir/pid.$sig") + 0;
	ok(wait_until(sub { !Node::alive($pid) }), 'what it had started has ended');
	clean("SIG$sig");
}
{
	my $first = ctl_start($o, 'lock', 'wait', "touch $dir/wait; exec sleep 1000");

	wait_until(sub { -e "$dir/wait" });
	my $second = ctl_start($o, qw(lock wait true));
	wait_until(sub { @{$n->get_json('/v1/session/list')} == 2 });
	$second->signal('INT');
	is_deeply([$second->finish], [1, '', "Shutdown triggered or timeout during lock acquisition\n"], 'an interrupt ends waiting');
	is(@{$n->get_json('/v1/session/list')}, 1, 'its session is gone');
	$first->signal('USR1');
	is(($first->finish)[0], 0, 'another signal is passed on to the child');
	clean('waiting');
}

# The lock is lost
{
	my $job = ctl_start($o, qw(lock -verbose lost), "touch $dir/lost; exec sleep 1000");

	wait_until(sub { -e "$dir/lost" });
	my ($s) = @{$n->get_json('/v1/session/list')};
	$n->http('PUT', "/v1/session/destroy/$s->{ID}");
	my ($code, $out, $err) = $job->finish;
	like($out, qr/^Lock lost, killing child\nTerminating child pid \d+\nChild terminated\n/m, 'a lost lock ends the child');
	$n->http('DELETE', '/v1/kv/lost?recurse');
	clean('lost');
}

# Semaphores
{
	my @jobs = map { ctl_start($o, qw(lock -n=2 sem), "touch $dir/sem.$_; while [ ! -e $dir/sem.go ]; do sleep 0.01; done; rm $dir/sem.$_") } 1 .. 3;
	my $held = sub { return scalar grep { -e "$dir/sem.$_" } 1 .. 3; };

	ok(wait_until(sub { $held->() == 2 && @{$n->get_json('/v1/session/list')} == 3 }), 'two of three hold a slot');
	sleep 0.2;
	is($held->(), 2, 'and no more');
	my ($e) = @{$n->get_json('/v1/kv/sem/.lock')};
	is($e->{Flags}, 0xe0f69a2baa414de0, 'with the flags of semaphores');
	is((ctl($o, qw(lock -n=5 sem true)))[2], "Lock acquisition failed: semaphore limit conflict (lock: 2, local: 5)\n", 'another limit is refused');
	is((ctl($o, qw(lock sem true)))[2], "Lock acquisition failed: Existing key does not match lock use\n", 'as a lock it is refused');
	spew("$dir/sem.go", '');
	is(($_->finish)[0], 0, 'one ends') for @jobs;
	clean('semaphore');
}
{
	my $job = ctl_start($o, qw(lock -n=2 sem2), "touch $dir/sem2; exec sleep 1000");

	wait_until(sub { -e "$dir/sem2" });
	$job->signal('INT');
	is(($job->finish)[0], 0, 'an interrupt ends a holder');
	clean('an interrupted semaphore');
}

# What a lock survives: the end of daemons that come back; not the end of the agent
{
	my $d = Node->new;
	my $job = ctl_start({ addr => "$d->{ip}:$d->{ports}{http}" }, qw(lock -monitor-retry=20 keep), "touch $dir/keep; while [ ! -e $dir/keep.go ]; do sleep 0.01; done; echo kept");

	ok(wait_until(sub { -e "$dir/keep" }), 'a lock on a durable node');
	for my $daemon (qw(httpd raftd)) {
		my %pids = $d->pids;

		kill 'KILL', $pids{$daemon};
		ok($d->wait_for(sub { my %now = $d->pids; $now{$daemon} && $now{$daemon} != $pids{$daemon} }), "$daemon is killed, and comes back");
		ok($d->wait_for(sub { ($d->http('GET', '/v1/kv/keep/.lock'))[2] =~ /"Session"/ }), 'the lock is still held');
	}
	sleep 1.2;
	spew("$dir/keep.go", '');
	is_deeply([$job->finish], [0, "kept\n", ''], 'the child ends by itself');
}
{
	my $d = Node->new(dev => 1);
	my $job = ctl_start({ addr => "$d->{ip}:$d->{ports}{http}" }, qw(lock -monitor-retry=1 gone), "touch $dir/gone; exec sleep 1000");

	wait_until(sub { -e "$dir/gone" });
	$d->kill;
	my ($code, $out, $err) = $job->finish;
	is($code, 1, 'when the agent has gone the child is ended');
	like($err, qr/^Lock release failed: failed to release lock: Put /m, 'and the failure told');
}

done_testing;
