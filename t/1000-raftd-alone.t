#!/usr/bin/perl
# One raftd by its socket: writes, the ways of reading, watches, sessions, retried writes, status, and life without a leader.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

my ($yes, $no) = (JSON::PP::true, JSON::PP::false);
my %slice = (node_name => 'n1', node_id => '4b1f7f0c-0001-4d0e-8000-000000000001', datacenter => 'dc1', server => $yes,
	bootstrap_expect => 1, advertise_addr => '127.0.0.9', ports => { server => 8300 }, log_level => 'DEBUG', session_ttl_min => 100,
	performance => { rpc_hold_timeout => 400 });

sub put { my ($d, $k, $v, $o) = @_; $d->ask('kv.apply', { Op => 'set', DirEnt => { Key => $k, Value => $v } }, $o) }
sub get { my ($d, $k, $o) = @_; $d->ask('kv.get', { Key => $k }, $o) }

my $d = Frame::Daemon->new('raftd', { %slice, dev_mode => $yes, data_dir => '' });

# ---- writes and reads
my ($meta, $r) = put($d, 'a', 'one');
is($r, $yes, 'a write');
my $index = $meta->{Index};
($meta, $r) = get($d, 'a');
is($r->[0]{Value}, 'one', 'a read');
is($meta->{Index}, $index, 'the index of a key is that of its write');
ok($meta->{KnownLeader}, 'a leader is known');
for (['consistent', 1], ['stale', 2]) {
	($meta, $r) = get($d, 'a', { Consistency => $_->[1] });
	is($r->[0]{Value}, 'one', "a $_->[0] read");
}
for (['default', 0], ['consistent', 1], ['stale', 2]) {
	($meta, $r) = $d->ask('snapshot.save', undef, { Consistency => $_->[1] });
	ok(ref $r eq 'HASH' && $r->{Size} > 0, "a snapshot in $_->[0] mode");
}
my @ids = map { $d->start('kv.get', { Key => 'a' }, { Consistency => 1 }) } 1 .. 50;
my %seen;
for (@ids) { my ($id, undef, $p) = $d->reply; $seen{$id} = $p->[0]{Value} }
is(scalar(grep { ($seen{$_} // '') eq 'one' } @ids), 50, 'consistent reads share barriers and are all answered');
($meta, $r) = get($d, 'a', { Datacenter => 'dc1' });
is($r->[0]{Value}, 'one', 'our own datacenter by name');
for my $op (['kv.get', { Key => 'a' }], ['kv.apply', { Op => 'set', DirEnt => { Key => 'a' } }], ['status.leader'],
	['session.renew', { ID => 'x' }], ['catalog.nodes', {}]) {
	($meta, $r) = $d->ask($op->[0], $op->[1], { Datacenter => 'dc9' });
	is_deeply($r, { Code => 500, Text => 'No path to datacenter' }, "$op->[0] for another datacenter");
}
($meta, $r) = $d->ask('txn.apply', { Ops => [{ KV => [{ Verb => 'get', Key => 'a' }] }] });
is($r->{Results}[0]{KV}{Value}, 'one', 'a transaction that only reads');
# Others write, too: two of them in a row must once find the same index.
my $still = 0;
for (1 .. 100) {
	my ($first) = $d->ask('txn.apply', { Ops => [{ KV => [{ Verb => 'get', Key => 'a' }] }] });
	my ($second) = $d->ask('txn.apply', { Ops => [{ KV => [{ Verb => 'get', Key => 'a' }] }] });

	last if $still = $first->{Index} == $second->{Index};
}
ok($still, 'is no entry of the log');
($meta, $r) = $d->ask('txn.apply', { Ops => [{ KV => [{ Verb => 'get', Key => 'a' }] }] }, { Consistency => 1 });
is($r->{Results}[0]{KV}{Value}, 'one', 'the same, consistent');

# ---- many at once keep their order and their answers
@ids = map { $d->start('kv.apply', { Op => 'set', DirEnt => { Key => "many/$_", Value => "v$_" } }) } 1 .. 500;
my $last = 0;
my $ascending = 1;
for (@ids) { my (undef, $m) = $d->reply; $ascending &&= $m->{Index} > $last; $last = $m->{Index} }
ok($ascending, 'pipelined writes are answered in the order of the log');
($meta, $r) = $d->ask('kv.list', { Key => 'many/' });
is(scalar @$r, 500, 'and all are there');

# ---- writes happen once
my %stamp = (Origin => 'o' x 16, Seq => 7, Floor => 7);
my ($m1, $r1) = $d->ask('kv.apply', { Op => 'cas', DirEnt => { Key => 'once', Value => 'x', ModifyIndex => 0 } }, \%stamp);
my ($m2, $r2) = $d->ask('kv.apply', { Op => 'cas', DirEnt => { Key => 'once', Value => 'x', ModifyIndex => 0 } }, \%stamp);
ok($r1 && $r2, 'a retried write gets the first answer');
@ids = map { $d->start('kv.apply', { Op => 'cas', DirEnt => { Key => 'once2', Value => 'x', ModifyIndex => 0 } },
	{ %stamp, Seq => 8 }) } 1 .. 3;
is(scalar(grep { my (undef, undef, $p) = $d->reply; $p } @ids), 3, 'copies in flight are each answered, with the first result');
my (undef, $sid) = ($d->ask('catalog.register', { Node => 'n1', Address => '1.2.3.4' }),
	$d->ask('session.create', { Node => 'n1', NoNodeChecks => $yes }))[2, 3];
my $destroy = { %stamp, Seq => 9 };
my $lock = { Op => 'lock', DirEnt => { Key => 'l', Value => 'x', Session => $sid } };
(undef, $r1) = $d->ask('kv.apply', $lock, { %stamp, Seq => 10 });
$d->ask('session.destroy', { ID => $sid }, $destroy);
(undef, $r2) = $d->ask('kv.apply', $lock, { %stamp, Seq => 10 });
ok($r1 && $r2, 'a retry is not refused for what happened since');
(undef, $r) = $d->ask('kv.apply', $lock, { %stamp, Seq => 11 });
like($r->{Text}, qr/invalid session/, 'a new write is');

# ---- watches
($meta) = get($d, 'w/a');
my $id = $d->start('kv.get', { Key => 'w/a' }, { MinIndex => $meta->{Index} });
my $w = Frame::Client->new("$d->{dir}/raftd.sock");
put($w, 'other', 'x');
ok(!$d->reply(0.2), 'a write elsewhere does not wake a reader of one key');
put($w, 'w/a', 'new');
my ($rid, $m, $p) = $d->reply(5);
is($rid, $id, 'a write to the key does');
is($p->[0]{Value}, 'new', 'with the new value');
ok($m->{Index} > $meta->{Index}, 'and a higher index');
put($w, 'x/a', 'x');
put($w, 'w/b/a', 'x');
($meta) = $d->ask('kv.list', { Key => '' });
my @watch = map { $d->start('kv.list', { Key => $_ }, { MinIndex => $meta->{Index} }) } 'w/', 'w', 'w/b', 'x/';
put($w, 'w/b/c', 'deep');
my %got;
while (my ($i, undef, $list) = $d->reply(keys %got < 3 ? 5 : 0.2)) { $got{$i} = $list }
is_deeply([sort keys %got], [sort @watch[0 .. 2]], 'prefixes wake by what is below them');
is(scalar @{$got{$watch[0]}}, 3, 'and show all of it');
Frame::send_frame($d->{sock}, 4, 0, $Frame::OP{'kv.list'}, $watch[3], '');
put($w, 'x/y', 'x');
ok(!$d->reply(0.2), 'a cancelled watch stays silent');
($meta, $r) = $d->ask('daemon.info');
is($r->{state}{blocking_queries}, 0, 'and is gone');
my $c = Frame::Client->new("$d->{dir}/raftd.sock");
$c->start('kv.list', { Key => "p$_/" }, { MinIndex => 1 << 40 }) for 1 .. 1000;
for (1 .. 100) {
	($meta, $r) = $d->ask('daemon.info');
	last if $r->{state}{blocking_queries} == 1000;
	select undef, undef, undef, 0.05;
}
is($r->{state}{blocking_queries}, 1000, 'many watches park');
close $c->{sock};
for (1 .. 100) {
	($meta, $r) = $d->ask('daemon.info');
	last if $r->{state}{blocking_queries} == 0;
	select undef, undef, undef, 0.05;
}
is($r->{state}{blocking_queries}, 0, 'and are freed with their connection');
($meta) = $d->ask('catalog.nodes', {});
$id = $d->start('catalog.nodes', {}, { MinIndex => $meta->{Index} });
$w->ask('catalog.register', { Node => 'n2', Address => '1.2.3.5' });
($rid, $m, $p) = $d->reply(5);
is(scalar @$p, 2, 'a watch on the catalog');

# ---- sessions
(undef, $sid) = $d->ask('session.create', { Node => 'n1', NoNodeChecks => $yes, TTL => '300ms' });
like($sid, qr/^[0-9a-f]{8}-/, 'a session with a TTL');
my $until = time + 1.5;
my $renewed = 0;
while (time < $until) {
	(undef, $r) = $d->ask('session.renew', { ID => $sid });
	$renewed++ if @$r == 1 && $r->[0]{ID} eq $sid;
	select undef, undef, undef, 0.1;
}
(undef, $r) = $d->ask('session.info', { ID => $sid });
is(scalar @$r, 1, 'renewed it lives on');
ok($renewed > 5, 'each renewal is answered with the session');
($meta, $r) = $d->ask('session.list');
$id = $d->start('session.list', undef, { MinIndex => $meta->{Index} });
my $began = time;
($rid, $m, $p) = $d->reply(10);
is_deeply($p, [], 'without renewal it ends');
ok(time - $began < 5, 'soon');
(undef, $r) = $d->ask('session.renew', { ID => $sid });
is_deeply($r, [], 'and cannot be renewed any more');

# ---- status
is(($d->ask('status.leader'))[1], '127.0.0.9:8300', 'the leader');
is_deeply(($d->ask('status.peers'))[1], ['127.0.0.9:8300'], 'the peers');
is_deeply(($d->ask('catalog.datacenters'))[1], ['dc1'], 'the datacenters');
($meta, $r) = $d->ask('daemon.info');
is($r->{raft}{state}, 'Leader', 'info: state');
is($r->{raft}{commit_index}, $r->{raft}{applied_index}, 'info: all is applied');
is($r->{consul}{leader_addr}, '127.0.0.9:8300', 'info: leader_addr');
like($d->log, qr/agent\.server: cluster leadership acquired/, 'the log tells of the leadership');
$d->start('kv.get', { Key => 'never' }, { MinIndex => 1 << 40 });
($meta) = $d->ask('status.leader');
is($d->stop, 0, 'SIGTERM ends it with 0, parked reads and all');

# ---- without a leader
$d = Frame::Daemon->new('raftd', { %slice, bootstrap_expect => 3, data_dir => '' });
$began = time;
@ids = ($d->start('kv.get', { Key => 'a' }), $d->start('kv.apply', { Op => 'set', DirEnt => { Key => 'a', Value => 'x' } }),
	$d->start('kv.get', { Key => 'a' }, { Consistency => 1 }));
for (@ids) {
	(undef, undef, $r) = $d->reply(10);
	is_deeply($r, { Code => 500, Text => 'No cluster leader' }, 'requests are held, then refused');
}
ok(time - $began >= 0.4, 'after the time to hold');
($meta, $r) = get($d, 'a', { Consistency => 2 });
is_deeply($r, [], 'stale reads are answered');
ok(!$meta->{KnownLeader}, 'and say that nobody leads');
is(($d->ask('status.leader'))[1], '', 'nobody leads');
like($d->log, qr/no known peers/, 'the log says so');
is($d->stop, 0, 'and it ends');

# ---- a client
$d = Frame::Daemon->new('raftd', { %slice, server => $no, data_dir => '' });
(undef, $r) = get($d, 'a');
is_deeply($r, { Code => 500, Text => 'No known Consul servers' }, 'a client without servers');
is(($d->ask('daemon.info'))[1]{consul}{server}, 'false', 'says what it is');
is($d->stop, 0, 'and it ends');

done_testing;
