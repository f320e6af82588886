#!/usr/bin/perl
# Several gossipd in one pool: joining, tags, leaving, failing, coming back.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Pool;
use Test::More;

my $pool = Pool->new;
my ($a, $b, $c) = map { $pool->add(server => $_ < 3) } 1 .. 3;

# ---- joining
is($b->join($a), 1, 'one node was contacted');
is($c->join($b), 1, 'a node joins through any known member');
ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 1 }), 'all three know all three');
my %by = map { $_->{Name} => $_ } @{$c->members};
is($by{n1}{Addr}, $a->{ip}, 'members have their addresses');
is($by{n2}{Tags}{role}, 'consul', 'and their tags: a server,');
is($by{n3}{Tags}{role}, 'node', 'and a client');
is($by{n1}{Tags}{ft_consulctl}, '1', 'ours say that they are');
is($a->want('gossip.size'), 3, 'the size of the pool');
ok(Pool::until(sub { $a->sees({ 'n1.dc1' => 1, 'n2.dc1' => 1 }, 1) }), 'servers found each other in the WAN pool too');
like($a->log, qr/serf: EventMemberJoin: n3 \Q$c->{ip}\E$/m, 'the log tells who joined');
like($b->log, qr/agent: \(LAN\) joining: lan_addresses=\[\Q$a->{ip}:$a->{lan}\E\]$/m, 'and whom one joins,');
like($b->log, qr/agent: \(LAN\) joined: number_of_nodes=1$/m, 'and with what success');

my ($m, $r) = $a->ask('gossip.join', { Addrs => ["n2/$b->{ip}:$b->{lan}", 'localhost.invalid:1'] });
is($r, 1, 'a name in front of the address is left out; one good address is enough');
($m, $r) = $a->ask('gossip.join', { Addrs => ['localhost.invalid:1'] });
is($r->{Code}, 500, 'a name that does not exist fails');
like($r->{Text}, qr/^1 error occurred:\n\t\* Failed to resolve localhost\.invalid: lookup localhost\.invalid: .*\n\n\z/, 'with its reason');

# ---- tags change
my ($meta) = $a->ask('gossip.members', {});
$c->write_slice({ %{$c->{slice}}, advertise_reconnect_timeout => 3600000 });
is($c->want('daemon.reload'), '', 'a reload changes tags');
ok(Pool::until(sub { my ($x) = grep { $_->{Name} eq 'n3' } @{$a->members}; ($x->{Tags}{rc_tm} // '') eq '1h0m0s' }), 'the others see it');
my ($meta2) = $a->ask('gossip.members', {});
cmp_ok($meta2->{Index}, '>', $meta->{Index}, 'and their index has risen');

# ---- a failure
my $watch = Frame::Client->new("$a->{dir}/gossipd.sock");
$watch->start('gossip.members', {}, { MinIndex => $meta2->{Index} });
ok(Pool::until(sub { $c->file('serf/local.snapshot') =~ /^alive: n1 .*^alive: n2 /ms }), 'a member writes down whom it knows');
$c->stop('KILL');
my (undef, $wm) = $watch->reply;
ok(defined $wm && $wm->{Index} > $meta2->{Index}, 'a watch wakes');
ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 4 }), 'one that was killed is failed');
like($a->log . $b->log, qr/memberlist: Suspect n3 has failed, no acks received/, 'the log tells the suspicion');
like($a->log, qr/serf: EventMemberFailed: n3 \Q$c->{ip}\E$/m, 'and the failure');
is($a->info->{serf_lan}{failed}, 1, 'info counts it');
is($a->want('gossip.size'), 2, 'it is not part of the size');

# ---- coming back by itself
$c->restart;
ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 1 }), 'restarted it finds the others by itself');
like($c->log, qr/serf: Attempting re-join to previously known nodes: /, 'as its log tells');
$c->restart;
ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 1 }), 'after SIGTERM too');
unlike($a->log, qr/EventMemberLeave: n3/, 'neither was a leave');

# ---- force-leave
$c->stop('KILL');
ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 4 }), 'failed again');
is_deeply([$a->ask('gossip.force_leave', { Node => 'zz' })], [undef, { Code => 500, Text => q(agent: No node found with name 'zz') }], 'an unknown node');
$b->want('gossip.force_leave', { Node => 'n3' });
ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 3 }), 'force-leave: it has left, for all');
$a->want('gossip.force_leave', { Node => 'n3', Prune => JSON::PP::true });
ok($pool->wait_members({ n1 => 1, n2 => 1 }), 'prune: it is forgotten, by all');
$c->restart;
ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 1 }), 'it may come back all the same');

# ---- leaving
$c->want('gossip.leave');
is($c->status->{n3}, 3, 'who has left says so itself');
ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 3 }, $a, $b), 'the others have it as left');
($m, $r) = $c->ask('gossip.join', { Addrs => [$a->address] });
is($r->{Text}, 'this node is leaving, or has left', 'it joins no more');
$c->want('gossip.leave');
pass('leaving twice is answered');
$c->restart;
ok(Pool::until(sub { $c->sees({ n3 => 1 }) }), 'one that left does not rejoin by itself');
ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 3 }, $a, $b), 'nor is it asked to');
is($c->join($a), 1, 'but may be told to');
ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 1 }), 'and is alive again');
$c->want('gossip.leave');
$c->restart(rejoin_after_leave => JSON::PP::true);
# The file is cleared by its leave: what it says later counts.
is($c->join($a), 1, 'rejoin_after_leave: a member again');
ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 1 }), 'for all');
$c->want('gossip.leave');
$c->restart;
ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 1 }), 'and rejoins after a leave');

# ---- start_join, retry_join
my $d = $pool->add(start_join => [$a->address]);
ok(Pool::until(sub { $d->log =~ /Join cluster completed\. Synced with initial agents: cluster=LAN num_agents=1/ }), 'start_join');
my $alone = Pool::free_port($d->{ip});
my $e = $pool->add(start_join => ["$d->{ip}:$alone"], ready => 0);
is($e->wait >> 8, 78, 'start_join that fails is the end');
like($e->log, qr/none of the addresses to join \(start_join\) could be reached/, 'with a sentence');
pop @{$pool->{members}};
my $f_slice = $pool->slice;
my $later = "$f_slice->{bind_addr}:$pool->{lan}";
my $g = $pool->add(retry_join => [$later]);
ok($g->wait_log(qr/Join cluster failed, will retry: cluster=LAN retry_interval=200ms/), 'retry_join goes on');
my $f = $pool->add(%$f_slice, start_join => [$a->address]);
ok($g->wait_log(qr/Join cluster completed\. Synced with initial agents: cluster=LAN num_agents=1/), 'until there is somebody');
my $h = $pool->add(retry_join => ["$d->{ip}:$alone"], retry_max => 2, ready => 0);
is($h->wait >> 8, 78, 'retry_max ends it');
like($h->log, qr/max join retry exhausted, exiting: cluster=LAN/, 'with a sentence');
pop @{$pool->{members}};
ok($pool->wait_members({ map { $_->{node} => 1 } @{$pool->{members}} }), 'one pool of all');

# ---- the same name, the same ID, another datacenter
my $same = $pool->add(node_name => 'n1');
$same->ask('gossip.join', { Addrs => [$a->address] });
ok($a->wait_log(qr/Conflicting address for n1 \(this node\)/), 'another one of our name is told');
is((grep { $_->{Name} eq 'n1' } @{$b->members})[0]{Addr}, $a->{ip}, 'and takes nothing');
$same->stop('KILL');
my $twin = $pool->add(node_id => $a->{slice}{node_id});
($m, $r) = $twin->ask('gossip.join', { Addrs => [$a->address] });
like($r->{Text}, qr/has this agent's node ID/, 'one with a member\'s ID does not join');
my $west = $pool->add(datacenter => 'west');
($m, $r) = $west->ask('gossip.join', { Addrs => [$a->address] });
like($r->{Text}, qr/^1 error occurred:\n\t\* Failed to join .*: Member '.*' part of wrong datacenter 'dc1'\n\n\z/, 'nor one of another datacenter');
ok($west->sees({ $west->{node} => 1 }), 'which knows nobody then');
cmp_ok($a->count('lan_dropped_member_refused'), '>', 0, 'refusals are counted');
is($west->want('gossip.join', { Addrs => [$a->wan_address], WAN => JSON::PP::true }), 1, 'the WAN is for all datacenters');
ok(Pool::until(sub { ($a->status(1)->{"$west->{node}.west"} // 0) == 1 }), 'where it is a member');
$_->stop('KILL') for $twin, $west;

for my $m ($a, $b, $c, $d, $f, $g) {
	unlike($m->log, qr/runtime error|Sanitizer/, "$m->{node}: nothing was wrong");
	is($m->stop >> 8, 0, 'and it ends with 0');
}
done_testing;
