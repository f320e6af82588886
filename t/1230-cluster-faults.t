#!/usr/bin/perl
# Daemons and nodes are killed, stopped and resumed under concurrent clients: what these saw is linearizable.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use History;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{TEST_SEED} // int rand 2**31;
diag "seed=$seed" if $ENV{TEST_VERBOSE};
note "seed=$seed";
srand $seed;
my $c = Cluster->new(servers => 3);
my $h;

# Run the fault with clients at work, let them go on until writes succeed again, and judge.
sub under_load
{
	my ($name, $fault) = @_;
	my $key = "after-$name";

	$h = History->start($c, clients => 6, keys => 3, timeout => 10, seed => int rand 2**31);
	progress("before $name");
	$fault->();
	progress($name);
	my $r = $h->stop;
	note "$name: ops=$r->{ops} unknown=$r->{unknown} longest without a write: $r->{gap_ms} ms";
	cmp_ok $r->{ok}, '>', 50, "$name: clients got on";
	is $h->check, '', "$name: linearizable";
	undef $h;
}

# Fifty more of its writes went through, whoever took them.
sub progress
{
	my ($what) = @_;
	my $n = 0;

	for my $i (1 .. 50) {
		my ($node) = (($c->running)[$i % $c->running]);
		$node->wait_for(sub { ($node->http('PUT', "/v1/kv/progress/$i", $what))[0] == 200 }) and $n++;
	}
	is $n, 50, "$what: writes go through";
}

under_load('leader-killed', sub {
	my $l = $c->leader;
	$c->crash($l);
	$c->next_leader($l);
	$l->start;
	$c->wait_all;
});

under_load('raftd-of-the-leader-killed', sub {
	my $l = $c->leader;
	my $pid = $c->pid($l, 'raftd');
	kill 'KILL', $pid;
	ok $l->wait_for(sub { my $p = $c->pid($l, 'raftd'); $p && $p != $pid }), 'the supervisor starts it again';
	$c->wait_all;
});

under_load('leader-stopped-and-resumed', sub {
	my $l = $c->leader;
	my @others = grep { $_ != $l } $c->nodes;
	my $pid = $c->pid($l, 'raftd');
	kill 'STOP', $pid;
	ok $c->next_leader($l, @others), 'others go on without it';
	kill 'CONT', $pid;
	$c->wait_all;
});

under_load('follower-killed', sub {
	my ($f) = $c->followers;
	$c->crash($f);
	$f->start;
	$c->wait_all;
});

under_load('leadership-handed-over', sub {
	for (1 .. 3) {
		my $l = $c->leader;
		my ($status) = $l->http('POST', '/v1/operator/raft/transfer-leader');
		is $status, 200, 'handed over';
		ok $l->wait_for(sub { my $n = $c->leader_of($l); $n && $n != $l }), 'another leads';
	}
});

under_load('leader-stopped-gracefully', sub {
	my $l = $c->leader;
	$l->stop;
	$c->next_leader($l);
	$l->start;
	$c->wait_all;
});

under_load('all-killed', sub {
	$c->crash($c->nodes);
	$_->start for $c->nodes;
	$c->wait_all;
});

$c->wait_equal;
done_testing;
