#!/usr/bin/perl
# Rights at one server: who is refused and what he is told, what lists leave out, and reads that wait while their rights change.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

my $ROOT = '00000000-aaaa-4000-8000-000000000001';
my $RECOVERY = '00000000-aaaa-4000-8000-000000000002';
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my %config = (node_name => 'n1', node_id => '4b1f7f0c-0001-4d0e-8000-000000000001', datacenter => 'dc1', server => $true, dev_mode => $true,
	log_level => 'DEBUG', acl => { enabled => $true, default_policy => 'deny',
	tokens => { initial_management => $ROOT, agent_recovery => $RECOVERY } });
my $d = Frame::Daemon->new('raftd', \%config);

# As somebody: (meta, payload), or (undef, {Code, Text}).
sub as { my ($token, $op, $request, %o) = @_; return $d->ask($op, $request, { Token => $token, %o }) }
sub root { my ($op, $request) = @_; my ($meta, $p) = as($ROOT, $op, $request); return defined $meta ? $p : die "$op: $p->{Code} $p->{Text}" }
sub payload { my @r = as(@_); return defined $r[0] ? $r[1] : "$r[1]{Code} $r[1]{Text}" }
sub wait_for { my ($code) = @_; for (1 .. 1500) { return 1 if $code->(); select undef, undef, undef, 0.02 } return 0 }
sub parked { return root_info()->{state}{blocking_queries} }
sub root_info { my (undef, $info) = $d->ask('daemon.info'); return $info }

ok(wait_for(sub { defined((as($ROOT, 'catalog.nodes', {}))[0]) }), 'the server leads, and knows its first token');

my $n = 0;
sub policy
{
	my ($rules, $id, $name) = @_;
	my $p = root('acl.policy_set', { ID => $id // '', Name => $name // 'p' . ++$n, Description => '', Rules => $rules });

	return $p->{ID};
}
sub token
{
	my ($rules, %more) = @_;
	my $p = policy($rules);

	return root('acl.token_set', { Verb => 'create', Token => { Policies => [{ ID => $p, Name => '' }], Description => '', %more } });
}
sub denied { my ($t, $what, $on) = @_; return "403 Permission denied: token with AccessorID '$t->{AccessorID}' lacks permission '$what'" . (defined $on ? " on \"$on\"" : '') }

# ---- what there is
root('catalog.register', { Node => "n$_", Address => "10.0.0.$_", Check => [{ CheckID => 'serfHealth', Name => 'x', Status => 'passing' }] }) for 1, 2;
root('catalog.register', { Node => 'n1', SkipNodeUpdate => $true, Service => [{ ID => 'web', Service => 'web', Port => 80 }] });
root('catalog.register', { Node => 'n2', SkipNodeUpdate => $true, Service => [{ ID => 'db', Service => 'db', Port => 81 }] });
my $sid = root('session.create', { Node => 'n1' });
root('kv.apply', { Op => 'set', DirEnt => { Key => $_, Value => 'x' } }) for qw(a/1 a/2 b);

# ---- nobody
is_deeply([(as('', 'catalog.nodes', {}))[1], (as('', 'catalog.services', {}))[1], (as('', 'session.list'))[1], (as('', 'kv.list', { Key => '' }))[1]],
	[[], {}, [], []], 'without a token one may ask, and is shown nothing');
is((as('', 'catalog.nodes', {}))[0]{ResultsFilteredByACLs} ? 1 : 0, 0, 'nor told that there is something');
is((as($ROOT, 'catalog.nodes', {}))[0]{ResultsFilteredByACLs} ? 1 : 0, 0, 'who sees all is told of nothing either');
like(payload('', 'kv.get', { Key => 'b' }), qr/^403 Permission denied: /, 'a key is refused');
like(payload('', 'kv.apply', { Op => 'set', DirEnt => { Key => 'b', Value => 'y' } }), qr/^403 Permission denied: .*lacks permission 'key:write' on "b"/, 'and so is a write');
is(payload('nonsense', $_->[0], $_->[1]), '403 ACL not found', "$_->[0] with an unknown token")
	for ['catalog.nodes', {}], ['kv.get', { Key => 'b' }], ['kv.apply', { Op => 'set', DirEnt => { Key => 'b' } }], ['session.renew', { ID => $sid }],
	['raft.configuration'], ['autopilot.health'], ['snapshot.save'], ['coordinate.update', { Node => 'n1', Coord => { Vec => [0, 0, 0, 0, 0, 0, 0, 0] } }],
	['acl.authorize', { Requests => [] }], ['acl.resolve'], ['txn.apply', { Ops => [] }];
is(payload('nonsense', 'status.leader') =~ /^[\d.]+:\d+$/, 1, 'status is open to all');
is_deeply(payload('nonsense', 'catalog.datacenters'), ['dc1'], 'and so are the names of datacenters');

# ---- writes, with what is lacking
my $t = token('key_prefix "a/" { policy = "write" } key "a/2" { policy = "read" } node "n1" { policy = "read" } service "web" { policy = "write" } session "n1" { policy = "read" }');
my $s = $t->{SecretID};
my @denied = (
	['kv.apply', { Op => 'set', DirEnt => { Key => 'b', Value => 'y' } }, 'key:write', 'b'],
	['kv.apply', { Op => 'delete-tree', DirEnt => { Key => 'a/' } }, 'key:write', 'a/'],
	['session.create', { Node => 'n1' }, 'session:write', 'n1'],
	['session.destroy', { ID => $sid }, 'session:write', 'n1'],
	['session.renew', { ID => $sid }, 'session:write', 'n1'],
	['catalog.register', { Node => 'n1', Address => '10.9.9.9' }, 'node:write', 'n1'],
	['catalog.register', { Node => 'n2', SkipNodeUpdate => $true, Service => [{ ID => 'db', Service => 'web' }] }, 'service:write', 'db'],
	['catalog.deregister', { Node => 'n2', ServiceID => 'db' }, 'service:write', 'db'],
	['catalog.deregister', { Node => 'n1' }, 'node:write', 'n1'],
	['coordinate.update', { Node => 'n1', Coord => { Vec => [0, 0, 0, 0, 0, 0, 0, 0] } }, 'node:write', 'n1'],
	['autopilot.set', { Config => {} }, 'operator:write'],
	['autopilot.config', undef, 'operator:read'],
	['autopilot.health', undef, 'operator:read'],
	['autopilot.state', undef, 'operator:read'],
	['raft.configuration', undef, 'operator:read'],
	['raft.remove_peer', { Address => '1.2.3.4:5' }, 'operator:write'],
	['raft.transfer', {}, 'operator:write'],
	['snapshot.save', undef, 'acl:write'],
	['snapshot.read', { ID => 'x' x 16, Offset => 0 }, 'acl:write'],
	['snapshot.write', { ID => 'x' x 16, Offset => 0, Data => '' }, 'acl:write'],
	['snapshot.restore', { ID => 'x' x 16, Offset => 0 }, 'acl:write'],
);
is(payload($s, $_->[0], $_->[1]), denied($t, $_->[2], $_->[3]), "$_->[0] lacks $_->[2]") for @denied;
is(payload($s, 'kv.apply', { Op => 'set', DirEnt => { Key => 'a/1', Value => 'z' } }), $true, 'what is allowed is done');
ok(JSON::PP::is_bool(payload($s, 'catalog.register', { Node => 'n1', SkipNodeUpdate => $true, Service => [{ ID => 'web', Service => 'web', Port => 82 }] })), 'a service may be registered without the node');

# ---- transactions
my $txn = (as($s, 'txn.apply', { Ops => [map { { KV => [{ Verb => 'set', Key => $_, Value => 'q' }] } } qw(a/1 b a/2)] }))[1];
is_deeply($txn->{Errors}, [map { { OpIndex => $_->[0], What => substr denied($t, 'key:write', $_->[1]), 4 } } [1, 'b'], [2, 'a/2']], 'each denial of a transaction is told');
is(root('kv.get', { Key => 'a/1' })->[0]{Value}, 'z', 'and nothing of it took place');
my ($meta, $p) = as($s, 'txn.apply', { Ops => [{ KV => [{ Verb => 'set', Key => 'a/1', Value => 'q' }] }, { KV => [{ Verb => 'get', Key => 'b' }] },
	{ Node => [{ Verb => 'get', Node => { Node => 'n2' } }] }, { KV => [{ Verb => 'get-tree', Key => 'a/' }] }] });
is_deeply([map { $_->{KV}{Key} } @{$p->{Results}}], ['a/1', 'a/1', 'a/2'], 'a write shows of what it reads what may be seen');
is($meta->{ResultsFilteredByACLs}, $true, 'and says that there was more');
($meta, $p) = as($s, 'txn.apply', { Ops => [{ KV => [{ Verb => 'get', Key => 'b' }] }, { KV => [{ Verb => 'get', Key => 'a/2' }] }] });
is_deeply([[map { $_->{KV}{Key} } @{$p->{Results}}], $meta->{ResultsFilteredByACLs}], [['a/2'], $true], 'so does one that only reads');

for my $key (qw(b nothing)) {
	($meta, $p) = as($s, 'txn.apply', { Ops => [{ KV => [{ Verb => 'set', Key => 'a/1', Value => 'q' }] }, { KV => [{ Verb => 'get', Key => $key }] }] });
	is_deeply([[map { $_->{KV}{Key} } @{$p->{Results}}], $p->{Errors}, $meta->{ResultsFilteredByACLs}], [['a/1'], undef, $true],
		"whether $key is there is not told by one that writes");
}

# ---- lists
is_deeply([map { $_->{Key} } @{payload($s, 'kv.list', { Key => '' })}], ['a/1', 'a/2'], 'keys');
is_deeply([map { $_->{Node} } @{payload($s, 'catalog.nodes', {})}], ['n1'], 'nodes');
is_deeply([sort keys %{payload($s, 'catalog.services', {})}], ['web'], 'services');
is(@{payload($s, 'catalog.service', { Service => 'db' })}, 0, 'the instances of one that may not be seen');
is(@{payload($s, 'health.service', { Service => 'web' })}, 1, 'and of one that may');
is_deeply([map { $_->{Node} } @{payload($s, 'health.state', { State => 'any' })}], ['n1'], 'checks');
is(payload($s, 'catalog.node', { Node => 'n2' }), undef, 'a node');
is(@{payload($s, 'session.list')}, 1, 'sessions');

# ---- the agent's own token: this node's agent, and all nodes to be read
is(@{payload($RECOVERY, 'catalog.nodes', {})}, 2, 'the recovery token reads nodes');
like(payload($RECOVERY, 'kv.get', { Key => 'b' }), qr/^403 Permission denied/, 'and nothing else');
my $questions = { Requests => [map { { Resource => $_->[0], Segment => $_->[1], Access => $_->[2] } } ['agent', 'n1', 'write'], ['agent', 'n2', 'read'],
	['key', 'a/9', 'write'], ['key', 'a/', 'write-prefix'], ['key', 'a/5', 'write-prefix'], ['operator', '', 'read'], ['nonsense', '', 'read'], ['key', 'a/9', 'nonsense']] };
is_deeply([(payload($RECOVERY, 'acl.authorize', $questions))->{Allow}, payload($s, 'acl.authorize', $questions)->{Allow}, payload($ROOT, 'acl.authorize', $questions)->{Allow}],
	[[1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0]], 'daemons are told what each token may do');
is(payload($s, 'acl.authorize', $questions)->{AccessorID}, $t->{AccessorID}, 'and whose it is');
my $identity = payload($s, 'acl.resolve');
is_deeply([$identity->{AccessorID}, $identity->{DefaultPolicy}, $identity->{Management}, scalar @{$identity->{Policies}}], [$t->{AccessorID}, 'deny', $false, 1], 'client nodes are told the rules');

# ---- reads that wait
sub waits
{
	my ($token, $op, $request) = @_;
	my ($meta) = as($token, $op, $request);
	my $c = Frame::Client->new("$d->{dir}/raftd.sock");
	my $before = parked();

	$c->start($op, $request, { Token => $token, MinIndex => $meta->{Index} });
	wait_for(sub { parked() == $before + 1 }) or die "$op does not wait";
	return $c;
}
# The answer of one that waits, and after how many seconds.
sub woken { my ($c, $began) = @_; my (undef, $meta, $p) = $c->reply(30) or return ('', 30); return ($p, time - $began) }

my $w1 = waits($s, 'kv.get', { Key => 'a/1' });
my $w2 = waits($ROOT, 'kv.get', { Key => 'a/1' });
my $other = token('key "b" { policy = "read" }');
root('acl.token_delete', { IDs => [$other->{AccessorID}] });
select undef, undef, undef, 0.3;
is(parked(), 2, 'what others may do wakes nobody');
root('acl.token_set', { Verb => 'update', Token => { %{root('acl.token_read', { ID => $t->{AccessorID} })->[0]}, Description => 'another' } });
select undef, undef, undef, 0.3;
is(parked(), 2, 'and nor does a change after which the rights are the same');

my $wide = policy('key_prefix "" { policy = "read" }');
my $began = time;
my @more = (@{root('acl.token_read', { ID => $t->{AccessorID} })->[0]{Policies}}, { ID => $wide, Name => '' });
my $list = waits($s, 'kv.list', { Key => '' });
root('acl.token_set', { Verb => 'update', Token => { %{root('acl.token_read', { ID => $t->{AccessorID} })->[0]}, Policies => \@more } });
my ($got) = woken($list, $began);
is_deeply([map { $_->{Key} } @$got], ['a/1', 'a/2', 'b'], 'a list that waits is answered when its rights grow');
(my $first) = woken($w1, $began);
is($first->[0]{Key}, 'a/1', 'and so is whoever else waits with that token');

$w1 = waits($s, 'kv.get', { Key => 'b' });
$began = time;
policy('', $wide, 'p' . $n);
($got, my $took) = woken($w1, $began);
is("$got->{Code} $got->{Text}", denied($t, 'key:read', 'b'), 'one who loses his right is told so');
cmp_ok($took, '<', 5, 'at once');

$w1 = waits($s, 'kv.get', { Key => 'a/1' });
$list = waits($s, 'kv.list', { Key => '' });
$began = time;
root('acl.token_delete', { IDs => [$t->{AccessorID}] });
for my $w ($w1, $list) {
	($got, $took) = woken($w, $began);
	is("$got->{Code} $got->{Text}", '403 ACL not found', 'the reads of a token that is deleted end');
	cmp_ok($took, '<', 5, 'at once');
}
is(payload($s, 'kv.get', { Key => 'a/1' }), '403 ACL not found', 'and it is no longer known');
is(parked(), 1, 'others wait on');
root('kv.apply', { Op => 'set', DirEnt => { Key => 'a/1', Value => 'new' } });
($got) = woken($w2, $began);
is($got->[0]{Value}, 'new', 'until there is something for them');

# ---- between two waits
my $u = token('key_prefix "a/" { policy = "read" }');
my ($made) = as($u->{SecretID}, 'kv.get', { Key => 'a/2' });
ok($made->{ACLIndex} > 0, 'an answer tells with which state of the ACLs it was made');
policy('key_prefix "c/" { policy = "read" }');
my ($again, $value) = as($u->{SecretID}, 'kv.get', { Key => 'a/2' }, MinIndex => $made->{Index}, ACLIndex => $made->{ACLIndex});
is($value->[0]{Key}, 'a/2', 'who names an older one is not left waiting: his rights may have changed meanwhile');
cmp_ok($again->{ACLIndex}, '>', $made->{ACLIndex}, 'and is told the newer');

# ---- no secret in the log
unlike($d->log, qr/\Q$s\E|\Q$ROOT\E|\Q$RECOVERY\E/, 'the log has no secret');
done_testing;
