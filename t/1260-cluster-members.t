#!/usr/bin/perl
# Servers are wiped and come back, added and removed, under concurrent clients.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use File::Path ();
use History;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{TEST_SEED} // int rand 2**31;
note "seed=$seed";
srand $seed;
# Quick to promote, so that the test need not wait ten seconds for each.
my $c = Cluster->new(servers => 3, config => { autopilot => { server_stabilization_time => '500ms' } });
my @first = $c->nodes;
my $h = History->start($c, clients => 4, keys => 3, timeout => 10, servers => [@first], seed => int rand 2**31);

sub configuration { return $c->leader->get_json('/v1/operator/raft/configuration')->{Servers} }

sub is_voter
{
	my ($n, $want) = @_;

	return $c->leader->wait_for(sub {
		my $s = eval { configuration() } or return 0;
		my ($own) = grep { $_->{Address} =~ /^\Q$n->{ip}\E:/ } @$s;
		return !$want ? !$own : $own && $own->{Voter};
	}, 60);
}

# ---- wiped
{
	my ($f) = $c->followers;
	my $id = $f->get_json('/v1/agent/self')->{Config}{NodeID};
	$c->crash($f);
	File::Path::remove_tree("$f->{data_dir}/raftd");
	$f->start;
	ok is_voter($f, 1), 'a wiped server is taken in anew, and promoted';
	ok $f->wait_for(sub { ($f->http('GET', '/v1/agent/self'))[0] == 200 }), 'it serves again';
	is $f->get_json('/v1/agent/self')->{Config}{NodeID}, $id, 'with its old node ID';
	is scalar(@{configuration()}), 3, 'three servers';
	$c->wait_equal;
}

# ---- added: a fourth and a fifth
my @new = map { $c->add } 1 .. 2;
ok is_voter($_, 1), "$_->{name} is added and promoted" for @new;
is scalar(grep { $_->{Voter} } @{configuration()}), 5, 'five voters';
$c->wait_equal;

# ---- five survive two
{
	my $l = $c->leader;
	my ($f) = grep { $_ != $l } @new;
	$c->crash($l, $f);
	ok $c->next_leader($l), 'two of five are dead, another leads';
	my ($node) = $c->running;
	ok $node->wait_for(sub { ($node->http('PUT', '/v1/kv/three', 'x'))[0] == 200 }), 'the other three take writes';
	$_->start for $l, $f;
	$c->wait_all;
	$c->wait_equal;
}

# ---- removed: the leader, too
{
	my ($f) = grep { my $n = $_; $n != $c->leader && grep { $_ == $n } @new } $c->nodes;
	$f //= $new[0];
	my $id = $f->get_json('/v1/agent/self')->{Config}{NodeID};
	$c->crash($f);
	my ($rc, $out, $err) = $c->leader->ctl(qw(operator raft remove-peer -id), $id);
	is $rc, 0, "remove-peer by id: $err";
	like $out, qr/Removed peer with id "\Q$id\E"/, 'says so';
	ok is_voter($f, 0), 'it is gone';
	is scalar(@{configuration()}), 4, 'four servers';

	($rc, $out, $err) = $c->node(1)->ctl(qw(operator raft remove-peer -address), 'nobody:8300');
	is $rc, 1, 'an unknown address is refused';
	like $err, qr/"nobody:8300" was not found in the Raft configuration/, 'with Consul\'s words';
}
my $r = $h->stop;
note "ops=$r->{ops} unknown=$r->{unknown} longest without a write: $r->{gap_ms} ms";
cmp_ok $r->{ok}, '>', 100, 'clients got on';
is $h->check, '', 'linearizable';
done_testing;
