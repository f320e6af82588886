#!/usr/bin/perl
# The leader follows the pool into the catalog, whatever gossip tells: a gossipd that is made up says it.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

my ($yes, $no) = (JSON::PP::true, JSON::PP::false);
my $ip = sprintf '127.%d.%d.%d', 64 + ($$ >> 16 & 63), $$ >> 8 & 255, 1 + ($$ & 127);
sub id { return sprintf '4b1f7f0c-0001-4d0e-8000-%012x', $_[0] }
sub client { my ($n, %o) = @_; return Frame::Gossip::client("c$n", "10.1.0.$n", %o, tags => { id => id($n), %{$o{tags} // {}} }) }

my $raft = Frame::Daemon->new('raftd', { node_name => 'n1', node_id => id(0), datacenter => 'dc1', server => $yes, bootstrap_expect => 1,
	bind_addr => $ip, advertise_addr => $ip, log_level => 'INFO', ports => { server => 8300 }, dev_mode => $yes, data_dir => '', version => '1.10.12' });
my $self = Frame::Gossip::server('n1', $ip, 8300, tags => { id => id(0) });

sub until_true
{
	my ($what, $seconds) = @_;

	for (1 .. 20 * ($seconds // 30)) {
		return 1 if $what->();
		sleep 0.05;
	}
	return 0;
}
sub ask { my (undef, $r) = $raft->ask(@_); return $r }
sub node { return ask('catalog.node', { Node => $_[0] }) }
sub checks { return { map { $_->{CheckID} => $_ } @{ask('health.node', { Node => $_[0] })} } }
sub health { my $c = checks($_[0])->{serfHealth}; return $c ? $c->{Status} : 'none' }
sub is_health { my ($node, $want, $what) = @_; ok until_true(sub { health($node) eq $want }), $what or diag "$node: " . health($node) . "\n" . $raft->log }
sub gone { my ($node, $what) = @_; ok until_true(sub { !defined node($node) }), $what or diag $raft->log }
sub last_index { return ask('daemon.info')->{raft}{last_log_index} }
# Everything that follows from the list of now has been done: a member that came last is there.
my $mark = 200;
my $gossip;
sub settled
{
	my $n = ++$mark;

	$gossip->set(grep({ $_->{Name} !~ /^c2\d\d$/ } @{$gossip->{members}}), client($n, Addr => '10.2.0.1'));
	return until_true(sub { health("c$n") eq 'passing' });
}

# ---- what was there before
ask('catalog.register', { Node => 'external', Address => '10.0.0.1', Service => [{ Service => 'db', Port => 5432 }] });
ask('catalog.register', { Node => 'known', ID => id(77), Address => '10.0.0.2', Check => [{ Node => 'known', CheckID => 'serfHealth',
	Name => 'Serf Health Status', Status => 'passing' }] });

$gossip = Frame::Gossip->new($raft->{dir}, $self);
is_health('n1', 'passing', 'this server is a member');
ok until_true(sub { $gossip->events }), 'an event is sent';
is join(',', $gossip->events), 'consul:new-leader n1', 'that there is a leader';

# ---- joining
$gossip->set($self, client(1), client(2), client(3));
is_health("c$_", 'passing', "c$_ joins") for 1 .. 3;
is checks('c1')->{serfHealth}{Output}, 'Agent alive and reachable', 'the output';
is node('c1')->{Node}{ID}, id(1), 'the ID';
is node('c1')->{Node}{Address}, '10.1.0.1', 'the address';
is_deeply node('c1')->{Services}, {}, 'a client has no service';
is node('n1')->{Services}{consul}{Port}, 8300, 'a server has one';
is node('n1')->{Services}{consul}{Meta}{version}, '1.10.12', 'with its version';

# ---- who is no node
$gossip->set($self, client(1), client(2), client(3), client(4, tags => { dc => 'dc2' }), client(5, tags => { role => 'web' }),
	client(6, tags => { role => undef }), client(7, tags => { dc => undef }), Frame::Gossip::server('c8', '10.1.0.8', 'x'),
	Frame::Gossip::server('c9', '10.1.0.9', 8300, tags => { vsn => undef }), client(10, Status => 2), client(11, Status => 4),
	client(12, Status => 3), client(13, Status => 9), client(14, tags => { id => undef }),
	Frame::Gossip::server('c15', '10.1.0.15', 8300, tags => { ft_consulctl => undef, id => id(15) }));
is_health('c15', 'passing', 'a server of Consul is a node');
is_deeply node('c15')->{Services}, {}, 'without the service consul: it is none of ours';
is_health('c14', 'passing', 'a member without an ID is a node');
ok !defined node("c$_"), "c$_ is none" for 4 .. 13;

# ---- one fails: critical, and its sessions end
$gossip->set($self, map { client($_) } 1 .. 9);
ask('catalog.register', { Node => 'c1', ID => id(1), Address => '10.1.0.1', NodeMeta => { rack => 'r1' }, TaggedAddresses => { lan => '10.1.0.1' },
	Service => [{ Service => 'web', Port => 80 }], Check => [{ Node => 'c1', CheckID => 'own', Name => 'own', Status => 'passing' }] });
my $session = ask('session.create', { Node => 'c1', LockDelay => 0, NodeChecks => ['serfHealth'] });
like $session, qr/^[0-9a-f-]{36}$/, 'a session';
ask('kv.apply', { Op => 'lock', DirEnt => { Key => 'lock', Value => 'x', Session => $session } });
$gossip->change('c1', Status => 4);
is_health('c1', 'critical', 'a member fails');
is checks('c1')->{serfHealth}{Output}, 'Agent not live or unreachable', 'the output';
is checks('c1')->{own}{Status}, 'passing', 'its own checks stay';
ok node('c1')->{Services}{web}, 'and its services';
is_deeply ask('session.info', { ID => $session }), [], 'its sessions end';
my $index = last_index();
ok settled(), 'others come';
is last_index(), $index + 1, 'nothing more is written about it: only what changed is' or diag $raft->log;
$gossip->change('c1', Status => 1);
is_health('c1', 'passing', 'it recovers');
is_deeply node('c1')->{Node}{Meta}, { rack => 'r1' }, 'and is what it was';

# ---- another address, another ID, another name
$gossip->change('c2', Addr => '10.1.0.102');
ok until_true(sub { node('c2')->{Node}{Address} eq '10.1.0.102' }), 'another address';
$session = ask('session.create', { Node => 'c3', NodeChecks => ['serfHealth'] });
$gossip->set($self, client(1), client(2, Addr => '10.1.0.102'), client(3, tags => { id => id(33) }), client(4));
ok until_true(sub { (node('c3') // {})->{Node}{ID} eq id(33) }), 'another machine under the same name' or diag $raft->log;
is health('c3'), 'passing', 'it is alive';
is_deeply ask('session.info', { ID => $session }), [], 'the sessions of the one before have ended';
$gossip->set($self, client(1), client(2), client(3, tags => { id => id(33) }), Frame::Gossip::client('renamed', '10.1.0.4', tags => { id => id(4) }));
is_health('renamed', 'passing', 'the same machine under another name');
gone('c4', 'and no longer under the old one');
$gossip->set(@{$gossip->{members}}, Frame::Gossip::client('C1', '10.1.0.111', tags => { id => id(111) }),
	Frame::Gossip::client('thief', '10.1.0.112', tags => { id => id(2) }));
ok settled(), 'two claim what others have';
is node('c1')->{Node}{ID}, id(1), 'who is alive keeps its name';
is node('c1')->{Node}{Address}, '10.1.0.1', 'and its address';
is node('c2')->{Node}{ID}, id(2), 'and its ID';
ok !defined node('thief'), 'the other is not registered';
like $raft->log, qr/has the same name, not registering: member=C1/, 'the log tells of the name';
like $raft->log, qr/has the same node ID, not registering: member=thief/, 'and of the ID';
$gossip->change('C1', Status => 4);
ok settled(), 'it fails';
is health('c1'), 'passing', 'which is not the failure of the one with the name';
$gossip->change('C1', Status => 3);
ok settled(), 'it leaves';
ok defined node('c1'), 'nor is that its leaving';

# ---- names that are, or begin, another one's ID
{
	my $id = 'db3c0000-0001-4d0e-8000-000000000001';

	$gossip->set($self, client(1), client(40, tags => { id => $id }));
	is_health('c40', 'passing', 'a member');
	ask('catalog.register', { Node => 'c40', ID => $id, Address => '10.1.0.40', NodeMeta => { rack => 'r40' }, TaggedAddresses => { lan => '10.9.9.9' } });
	for my $name ('db', $id) {
		$gossip->set($self, client(1), client(40, tags => { id => $id }), Frame::Gossip::client($name, '10.1.0.41', tags => { id => id(41) }));
		is_health($name, 'passing', "one with the name $name");
		is_deeply [node($name)->{Node}{Meta} // {}, node($name)->{Node}{TaggedAddresses} // {}], [{}, {}], 'has nothing of the other one';
		$gossip->change($name, Status => 3);
		ok until_true(sub { !grep { $_->{Node} eq $name } @{ask('catalog.nodes', {})} }), 'it leaves';
		is node('c40')->{Node}{Meta}{rack}, 'r40', 'the other stays';
	}
}

# ---- leaving; being forgotten by the pool
$gossip->set($self, map { client($_) } 1 .. 5);
is_health('c5', 'passing', 'c5 is there');
ask('catalog.register', { Node => 'c5', ID => id(5), Address => '10.1.0.5', Service => [{ Service => 'web', Port => 80 }] });
$session = ask('session.create', { Node => 'c5', NodeChecks => ['serfHealth'] });
$gossip->change('c5', Status => 3);
gone('c5', 'a member leaves');
is_deeply ask('session.info', { ID => $session }), [], 'with its sessions';
is scalar(grep { $_->{Node} eq 'c5' } @{ask('catalog.service', { Service => 'web' })}), 0, 'and services';
$gossip->set($self, client(1), client(2, Status => 4), client(3));
is_health('c2', 'critical', 'one has failed');
$gossip->set($self, client(1), client(3));
gone('c2', 'and is forgotten at once when the pool forgets it');
gone('c4', 'and one that was alive');
$gossip->set($self, client(1), client(3), Frame::Gossip::client('external', '10.0.0.1', Status => 3));
ok settled(), 'a member that left has the name of a node of another tool';
ok defined node('external'), 'which stays';

# ---- gossipd dies, and comes back knowing nobody
$gossip->stop;
$gossip->start($self);
ok $raft->wait_log(qr/(?:the members are known.*){2}/s), 'another gossipd tells';
$index = last_index();
$gossip->set($self, client(1));
$gossip->set($self, client(1), client(6));
is_health('c6', 'passing', 'it finds the others again');
is health('c3'), 'passing', 'one that it has not found yet stays as it is';
is last_index(), $index + 1, 'nothing was written about those who stayed';
$gossip->set($self, client(1), client(6), client(3));
ok settled(), 'one more is found';
$gossip->set($self, client(1), client(6));
gone('c3', 'only one that it knew and forgets goes');
ok defined node('known'), 'nodes of before, of whom it never knew, are still there' or diag $raft->log;

# ---- a thousand at once, and again
my @many = map { Frame::Gossip::client("m$_", sprintf('10.3.%d.%d', $_ >> 8, $_ & 255), tags => { id => id(1000 + $_) }) } 1 .. 1000;
my $from = time;
$gossip->set($self, client(1), @many[0 .. $_]) for map { 100 * $_ - 1 } 1 .. 10;
ok until_true(sub { health('m1000') eq 'passing' && health('m1') eq 'passing' }, 60), 'a thousand members join';
note sprintf 'a thousand joins: %.1f s', time - $from;
is scalar(grep { $_->{Node} =~ /^m/ } @{ask('catalog.nodes', {})}), 1000, 'all are nodes';
$index = last_index();
$gossip->change('m500', Status => 4);
is_health('m500', 'critical', 'one of them fails');
is last_index(), $index + 1, 'which is one entry';

# ---- lists that are none
$gossip->set($self, { Name => 7 });
ok $raft->wait_log(qr/gossipd does not tell the members/), 'a malformed list is refused';
is health('m1'), 'passing', 'and nothing follows from it';
$gossip->set();
$gossip->set($self, client(1), @many);
ok until_true(sub { health('m500') eq 'passing' }), 'the next one counts';
gone('known', 'a node that the pool has not known for half a minute goes');
ok defined node('external'), 'but not one without serfHealth';
is $raft->stop, 0, 'it ends';
unlike $raft->log, qr/AddressSanitizer|runtime error|[Aa]ssert/, 'nothing broke';
done_testing;
