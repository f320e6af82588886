#!/usr/bin/perl
# raftd beside gossipd: the leader turns members into nodes, serfHealth checks and the service consul.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use IO::Socket::INET;
use JSON::PP ();
use Test::More;

my ($yes, $no) = (JSON::PP::true, JSON::PP::false);
my $ip = sprintf '127.%d.%d.%d', 64 + ($$ >> 16 & 63), $$ >> 8 & 255, 1 + ($$ & 127);
my $id = '4b1f7f0c-0001-4d0e-8000-000000000001';

sub free_port
{
	for (1 .. 200) {
		my $p = 10000 + int rand 20000;
		my $t = IO::Socket::INET->new(LocalAddr => $ip, LocalPort => $p, Listen => 1) or next;
		my $u = IO::Socket::INET->new(LocalAddr => $ip, LocalPort => $p, Proto => 'udp') or next;
		return $p;
	}
	die 'no free port';
}

my %slice = (node_name => 'n1', node_id => $id, datacenter => 'dc1', server => $yes, bootstrap_expect => 1, bind_addr => $ip,
	advertise_addr => $ip, log_level => 'INFO', ports => { serf_lan => free_port(), serf_wan => free_port(), server => 8300 });
my $raft = Frame::Daemon->new('raftd', { %slice, dev_mode => $yes, data_dir => '' });

sub until_true
{
	my ($what) = @_;

	for (1 .. 200) {
		return 1 if $what->();
		select undef, undef, undef, 0.05;
	}
	return 0;
}

sub checks { ($raft->ask('health.node', { Node => $_[0] }))[1] }
sub health { my ($c) = grep { $_->{CheckID} eq 'serfHealth' } @{checks($_[0])}; $c }

# What a node of another tool has registered, and what an earlier life of the pool left: a gossipd that has just started may not have found it yet.
$raft->ask('catalog.register', { Node => 'external', Address => '10.0.0.1', Service => [{ Service => 'db', Port => 5432 }] });
$raft->ask('catalog.register', { Node => 'ghost', Address => '10.0.0.2', Check => [{ Node => 'ghost', CheckID => 'serfHealth',
	Name => 'Serf Health Status', Status => 'passing' }] });

my $gossip = Frame::Daemon->new('gossipd', \%slice, tmp => $raft->{tmp});
ok(until_true(sub { health('n1') }), 'the member becomes a node with a serfHealth check');
my $c = health('n1');
is($c->{Name}, 'Serf Health Status', 'its name');
is($c->{Status}, 'passing', 'its status');
is($c->{Output}, 'Agent alive and reachable', 'its output');
my (undef, $node) = $raft->ask('catalog.node', { Node => 'n1' });
is($node->{Node}{ID}, $id, 'the node has its id');
is($node->{Node}{Address}, $ip, 'and its address');
my (undef, $services) = $raft->ask('catalog.service', { Service => 'consul' });
is(scalar @$services, 1, 'a server has the service consul');
is($services->[0]{ServicePort}, 8300, 'its port');
is_deeply($services->[0]{ServiceMeta}, { raft_version => '3', serf_protocol_current => '2', serf_protocol_min => '1',
	serf_protocol_max => '5', version => '1.10.12', read_replica => 'false', non_voter => 'false' }, 'its meta');
ok(defined(($raft->ask('catalog.node', { Node => 'ghost' }))[1]), 'a node that gossip does not know yet stays');
ok(defined(($raft->ask('catalog.node', { Node => 'external' }))[1]), 'a node without serfHealth is not touched');
like($raft->log, qr/agent\.server: member joined, marking health alive: member=n1/, 'the log tells of the member');

# What others wrote of the node stays.
$raft->ask('catalog.register', { Node => 'n1', ID => $id, Address => $ip, NodeMeta => { rack => 'r1' }, TaggedAddresses => { lan => $ip } });
my (undef, $info) = $raft->ask('daemon.info');
my $last = $info->{raft}{last_log_index};
$gossip->stop('KILL');
$gossip->spawn;
$gossip->connect;
$gossip->ask('gossip.members', {});
select undef, undef, undef, 1.2;
(undef, $info) = $raft->ask('daemon.info');
is($info->{raft}{last_log_index}, $last, 'when gossipd comes back unchanged nothing is written');
(undef, $node) = $raft->ask('catalog.node', { Node => 'n1' });
is_deeply($node->{Node}{Meta}, { rack => 'r1' }, 'meta is kept');

is($raft->stop, 0, 'raftd ends');
is($gossip->stop, 0, 'gossipd ends');
done_testing;
