#!/usr/bin/perl
# Every operation there is, by everybody: without a token, with one that may nothing, one that is none, one that has the very right, and one that has expired;
# through HTTP, the daemons' sockets, and the servers' port as a stranger. An operation without a row fails the test.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Acl;
use Frame;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $json = JSON::PP->new->allow_nonref->canonical;
my $RECOVERY = '8d9ec3d2-37c5-4b2b-9b1b-1f6f1e5c0a02';
my $n = Acl::node(dev => 1, name => 'm1', config => { log_level => 'trace' }, tokens => { agent => $Acl::ROOT, agent_recovery => $RECOVERY });
my ($run) = map { s{/raftd\.sock$}{}r } glob "$n->{dir}/*/raftd.sock" or die 'no sockets';
my %sock = map { $_ => Frame::Client->new("$run/$_.sock") } qw(raftd gossipd checkd dnsd);
my $tcp = stranger();

sub stranger
{
	my $s = Frame::Tcp->new($n->{ip}, $n->{ports}{server});

	$s->hello(Purpose => 'forward') or die 'the server does not greet';
	return $s;
}
sub root
{
	my ($op, $request) = @_;
	my ($meta, $p) = $sock{raftd}->ask($op, $request, { Token => $Acl::ROOT });

	return defined $meta ? $p : die "$op: $p->{Code} $p->{Text}";
}

# ---- what there is
my $expired = Acl::put($n, '/v1/acl/token', { Policies => [{ Name => 'global-management' }], ExpirationTTL => '60s' })->{SecretID};
my $expires = time + 60;
my ($weak, $weak_accessor) = Acl::token($n, 'key "nothing" { policy = "read" }');
my $zero = { Vec => [(0) x 8], Error => 1.5, Adjustment => 0, Height => 0.00001 };
my $count = 0;
my $uuid = '11111111-2222-4333-8444-555555555555';
my $anonymous = '00000000-0000-0000-0000-000000000002';

root('catalog.register', { Node => 'x1', Address => '10.0.0.1', Service => [{ ID => 'svc1', Service => 'svc1', Port => 80 }],
	Check => [{ CheckID => 'ping', Name => 'ping', Status => 'passing', ServiceID => 'svc1' }] });
root('catalog.register', { Node => 'x1', SkipNodeUpdate => $true, Check => [{ CheckID => 'up', Name => 'up', Status => 'passing' }] });
root('kv.apply', { Op => 'set', DirEnt => { Key => 'k/a', Value => 'v' } });
root('coordinate.update', { Node => 'x1', Segment => '', Coord => $zero });
my $query = root('query.apply', { Verb => 'create', Query => { Name => 'q1', Service => { Service => 'svc1' } } });
my $policy = Acl::policy($n, 'key "p" { policy = "read" }');
my $role = Acl::put($n, '/v1/acl/role', { Name => 'role1' })->{ID};
web_service();
sub web_service { Acl::http($n, $Acl::ROOT, 'PUT', '/v1/agent/service/register', { Name => 'web', ID => 'web', Check => { TTL => '60m', CheckID => 'webcheck', Status => 'passing' } }) }
Acl::http($n, $Acl::ROOT, 'PUT', '/v1/event/fire/ev1', 'x');
$n->wait_for(sub { @{root('coordinate.list', {})} }) or die 'no coordinate';
my $session = root('session.create', { Node => 'x1', NodeChecks => ['up'] });

# Something to be removed, one each time.
sub fresh_session { return root('session.create', { Node => 'x1', NodeChecks => ['up'] }) }
sub fresh_query { return root('query.apply', { Verb => 'create', Query => { Name => 'q' . ++$count, Service => { Service => 'svc1' } } }) }
sub fresh_token { return root('acl.token_set', { Verb => 'create', Token => { Description => 'fresh' } })->{AccessorID} }

# ---- the table
#   q		the request (or what makes one)
#   lacks	who may not is refused, for want of this on that; or
#   hides	who may not gets this, and whoever may gets something else; or
#   open	anyone with a token or none gets an answer; anyone: even with a token that is none
#   says	everybody is told this
#   rules	the very right
#   http	method, path, body; web: what is hidden there, when it is not `hides`
#   item	the answer is a list, whose first element may be a refusal
#   local	not served to other nodes
my $acl_read = { lacks => ['acl:read'], rules => 'acl = "read"' };
my $acl_write = { lacks => ['acl:write'], rules => 'acl = "write"' };
my $x1 = 'node "x1" { policy = "read" }';
my $svc = 'service "svc1" { policy = "read" }';
my $op_read = { lacks => ['operator:read'], rules => 'operator = "read"' };
my $op_write = { lacks => ['operator:write'], rules => 'operator = "write"' };
my $daemons = { daemons => 1 };
my %row = (
	'daemon.info' => $daemons, 'daemon.reload' => $daemons, 'daemon.tokens' => $daemons,
	'daemon.metrics' => { %$daemons, lacks => ['agent:read', 'm1'], rules => 'agent "m1" { policy = "read" }', http => ['GET', '/v1/agent/metrics'] },
	'daemon.log' => { %$daemons, lacks => ['agent:read', 'm1'], denials => 1, http => ['GET', '/v1/agent/monitor'] },

	'status.leader' => { anyone => 1, http => ['GET', '/v1/status/leader'] },
	'status.peers' => { anyone => 1, http => ['GET', '/v1/status/peers'] },
	'kv.get' => { q => { Key => 'k/a' }, lacks => ['key:read', 'k/a'], rules => 'key "k/a" { policy = "read" }', http => ['GET', '/v1/kv/k/a'] },
	'kv.list' => { q => { Key => 'k/' }, hides => [], rules => 'key_prefix "k/" { policy = "read" }', http => ['GET', '/v1/kv/k/?recurse'], web => 404 },
	'kv.keys' => { q => { Key => 'k/' }, hides => [], rules => 'key_prefix "k/" { policy = "read" }', http => ['GET', '/v1/kv/k/?keys'], web => 404 },
	'kv.changes' => { q => { Key => 'k/' }, hides => { Reset => $true, Entries => [], Deleted => [] }, rules => 'key_prefix "k/" { policy = "read" }' },
	'kv.apply' => { q => { Op => 'set', DirEnt => { Key => 'k/w', Value => 'v' } }, lacks => ['key:write', 'k/w'], rules => 'key "k/w" { policy = "write" }',
		http => ['PUT', '/v1/kv/k/w', 'v'] },
	'txn.apply' => { q => { Ops => [{ KV => [{ Verb => 'get', Key => 'k/a' }] }] }, part => 'Results', hides => [], rules => 'key "k/a" { policy = "read" }',
		http => ['PUT', '/v1/txn', '[{"KV":{"Verb":"get","Key":"k/a"}}]'] },
	'session.create' => { q => { Node => 'x1', NodeChecks => ['up'] }, lacks => ['session:write', 'x1'], rules => 'session "x1" { policy = "write" }',
		http => ['PUT', '/v1/session/create', '{"Node":"x1","NodeChecks":["up"]}'] },
	'session.destroy' => { q => sub { { ID => fresh_session() } }, lacks => ['session:write', 'x1'], rules => 'session "x1" { policy = "write" }',
		http => ['PUT', sub { '/v1/session/destroy/' . fresh_session() }] },
	'session.renew' => { q => { ID => $session }, lacks => ['session:write', 'x1'], rules => 'session "x1" { policy = "write" }',
		http => ['PUT', "/v1/session/renew/$session"] },
	'session.info' => { q => { ID => $session }, hides => [], rules => 'session "x1" { policy = "read" }', http => ['GET', "/v1/session/info/$session"] },
	'session.node' => { q => { ID => 'x1' }, hides => [], rules => 'session "x1" { policy = "read" }', http => ['GET', '/v1/session/node/x1'] },
	'session.list' => { hides => [], rules => 'session "x1" { policy = "read" }', http => ['GET', '/v1/session/list'] },
	'catalog.register' => { q => sub { { Node => 'x2', Address => '10.0.1.' . ++$count } }, lacks => ['node:write', 'x2'], rules => 'node "x2" { policy = "write" }',
		http => ['PUT', '/v1/catalog/register', sub { '{"Node":"x2","Address":"10.0.2.' . ++$count . '"}' }] },
	'catalog.deregister' => { q => { Node => 'x3' }, lacks => ['node:write', 'x3'], rules => 'node "x3" { policy = "write" }',
		http => ['PUT', '/v1/catalog/deregister', '{"Node":"x3"}'] },
	'catalog.batch' => { q => sub { { Items => [{ Register => [{ Node => 'x2', Address => '10.0.3.' . ++$count }] }] } }, item => 1, lacks => ['node:write', 'x2'],
		rules => 'node "x2" { policy = "write" }' },
	'catalog.nodes' => { q => {}, hides => [], rules => $x1, http => ['GET', '/v1/catalog/nodes'] },
	'catalog.services' => { q => {}, hides => {}, rules => $svc, http => ['GET', '/v1/catalog/services'] },
	'catalog.service' => { q => { Service => 'svc1' }, hides => [], rules => "$x1 $svc", http => ['GET', '/v1/catalog/service/svc1'] },
	'catalog.node' => { q => { Node => 'x1' }, hides => undef, rules => $x1, http => ['GET', '/v1/catalog/node/x1'] },
	'catalog.node_services' => { q => { Node => 'x1' }, hides => { Node => undef, Services => undef }, rules => $x1, http => ['GET', '/v1/catalog/node-services/x1'] },
	'catalog.reverse' => { q => { Address => '10.0.0.1' }, hides => { Node => '', Services => [] }, rules => $x1 },
	'catalog.datacenters' => { anyone => 1, http => ['GET', '/v1/catalog/datacenters'] },
	'health.node' => { q => { Node => 'x1' }, hides => [], rules => $x1, http => ['GET', '/v1/health/node/x1'] },
	'health.checks' => { q => { Service => 'svc1' }, hides => [], rules => "$x1 $svc", http => ['GET', '/v1/health/checks/svc1'] },
	'health.state' => { q => { State => 'any' }, hides => [], rules => $x1, http => ['GET', '/v1/health/state/any'] },
	'health.service' => { q => { Service => 'svc1' }, hides => [], rules => "$x1 $svc", http => ['GET', '/v1/health/service/svc1'] },
	'ui.nodes' => { q => {}, hides => [], rules => $x1, http => ['GET', '/v1/internal/ui/nodes'] },
	'ui.services' => { q => {}, hides => [], rules => "$x1 $svc", http => ['GET', '/v1/internal/ui/services'] },
	'operator.usage' => { %$op_read, http => ['GET', '/v1/operator/usage'] },
	'autopilot.config' => { %$op_read, http => ['GET', '/v1/operator/autopilot/configuration'] },
	'autopilot.set' => { q => sub { { Config => root('autopilot.config') } }, %$op_write, http => ['PUT', '/v1/operator/autopilot/configuration', '{"CleanupDeadServers":true}'] },
	'autopilot.health' => { %$op_read, http => ['GET', '/v1/operator/autopilot/health'] },
	'autopilot.state' => { %$op_read, http => ['GET', '/v1/operator/autopilot/state'] },
	'raft.configuration' => { %$op_read, http => ['GET', '/v1/operator/raft/configuration'] },
	'raft.remove_peer' => { q => { Address => '10.9.9.9:8300' }, %$op_write, http => ['DELETE', '/v1/operator/raft/peer?address=10.9.9.9:8300'], fails => 1 },
	'raft.transfer' => { q => {}, %$op_write, http => ['PUT', '/v1/operator/raft/transfer-leader'], fails => 1 },
	'coordinate.update' => { q => { Node => 'x1', Segment => '', Coord => $zero }, lacks => ['node:write', 'x1'], rules => 'node "x1" { policy = "write" }',
		http => ['PUT', '/v1/coordinate/update', $json->encode({ Node => 'x1', Coord => $zero })] },
	'coordinate.list' => { q => {}, hides => [], rules => $x1, http => ['GET', '/v1/coordinate/nodes'] },
	'coordinate.node' => { q => { Node => 'x1' }, lacks => ['node:read', 'x1'], rules => $x1, http => ['GET', '/v1/coordinate/node/x1'] },
	'coordinate.datacenters' => { anyone => 1, http => ['GET', '/v1/coordinate/datacenters'], web_checks => 1 },
	'snapshot.save' => { %$acl_write, http => ['GET', '/v1/snapshot'] },
	'snapshot.read' => { q => { ID => 'x' x 16, Offset => 0 }, %$acl_write, fails => 1 },
	'snapshot.write' => { q => { ID => 'y' x 16, Offset => 0, Data => 'x' }, %$acl_write, http => ['PUT', '/v1/snapshot', 'no snapshot'], fails => 1 },
	'snapshot.restore' => { q => { ID => 'z' x 16, Offset => 1 }, %$acl_write, fails => 1 },

	'query.apply' => { q => sub { { Verb => 'update', Query => { ID => $query, Name => 'q1', Service => { Service => 'svc1' } } } }, lacks => ['query:write', 'q1'],
		rules => 'query "q1" { policy = "write" }', http => ['PUT', "/v1/query/$query", '{"Name":"q1","Service":{"Service":"svc1"}}'] },
	'query.get' => { q => { ID => $query }, lacks => ['query:read', 'q1'], rules => 'query "q1" { policy = "read" }', http => ['GET', "/v1/query/$query"] },
	'query.list' => { hides => [], rules => 'query "q1" { policy = "read" }', http => ['GET', '/v1/query'] },
	'query.execute' => { q => { ID => 'q1' }, part => 'Nodes', hides => [], rules => "$x1 $svc", http => ['GET', '/v1/query/q1/execute'] },
	'query.explain' => { q => { ID => 'q1' }, lacks => ['query:read', 'q1'], rules => 'query "q1" { policy = "read" }', http => ['GET', '/v1/query/q1/explain'] },

	'gossip.members' => { q => {}, hides => [], rules => 'node "m1" { policy = "read" }', http => ['GET', '/v1/agent/members'] },
	'gossip.join' => { q => { Addrs => ['127.0.0.1:1'] }, lacks => ['agent:write', 'm1'], rules => 'agent "m1" { policy = "write" }', http => ['PUT', '/v1/agent/join/127.0.0.1:1'], fails => 1 },
	'gossip.leave' => { says => qr/only the daemons of this node/ },
	'gossip.force_leave' => { q => { Node => 'nobody' }, %$op_write, http => ['PUT', '/v1/agent/force-leave/nobody'], fails => 1 },
	'gossip.event_fire' => { q => { Name => 'ev2', Payload => 'x' }, lacks => ['event:write', 'ev2'], rules => 'event "ev2" { policy = "write" }', http => ['PUT', '/v1/event/fire/ev2', 'x'] },
	'gossip.event_list' => { q => {}, hides => [], rules => 'event "ev1" { policy = "read" }', http => ['GET', '/v1/event/list'] },
	'gossip.keyring' => { q => { Verb => 'list' }, lacks => ['keyring:read'], rules => 'keyring = "read"', http => ['GET', '/v1/operator/keyring'], fails => 1 },
	'gossip.coordinates' => { q => { Own => $true }, open => 1 },
	'gossip.serf_event' => { q => { Name => 'x', Payload => 'x' }, says => qr/only the daemons of this node/ },
	'gossip.size' => { open => 1 },

	'acl.bootstrap' => { q => {}, says => qr/^403 Permission denied: ACL bootstrap no longer allowed/, http => ['PUT', '/v1/acl/bootstrap'] },
	'acl.token_set' => { q => { Verb => 'create', Token => { Description => 'd' } }, %$acl_write, http => ['PUT', '/v1/acl/token', '{}'] },
	'acl.token_delete' => { q => sub { { IDs => [fresh_token()] } }, %$acl_write, http => ['DELETE', sub { '/v1/acl/token/' . fresh_token() }] },
	'acl.token_read' => { q => { ID => $anonymous }, %$acl_read, http => ['GET', "/v1/acl/token/$anonymous"] },
	'acl.token_list' => { q => {}, %$acl_read, http => ['GET', '/v1/acl/tokens'] },
	'acl.token_reap' => { q => { IDs => [$anonymous] }, says => qr/^403 Permission denied: the leader alone/ },
	'acl.policy_set' => { q => sub { { ID => '', Name => 'n' . ++$count, Description => '', Rules => '' } }, %$acl_write,
		http => ['PUT', '/v1/acl/policy', sub { '{"Name":"n' . ++$count . '"}' }] },
	'acl.policy_delete' => { q => sub { { IDs => [Acl::policy($n, '')] } }, %$acl_write, http => ['DELETE', sub { '/v1/acl/policy/' . Acl::policy($n, '') }] },
	'acl.policy_read' => { q => { ID => $policy }, %$acl_read, http => ['GET', "/v1/acl/policy/$policy"] },
	'acl.policy_list' => { %$acl_read, http => ['GET', '/v1/acl/policies'] },
	'acl.role_set' => { q => sub { { ID => '', Name => 'n' . ++$count, Description => '' } }, %$acl_write, http => ['PUT', '/v1/acl/role', sub { '{"Name":"n' . ++$count . '"}' }] },
	'acl.role_delete' => { q => { IDs => [$uuid] }, %$acl_write, http => ['DELETE', "/v1/acl/role/$uuid"], fails => 1 },
	'acl.role_read' => { q => { ID => $role }, %$acl_read, http => ['GET', "/v1/acl/role/$role"] },
	'acl.role_list' => { q => {}, %$acl_read, http => ['GET', '/v1/acl/roles'] },
	'acl.method_set' => { q => { Name => 'bad', Type => 'none', Description => '', Config => {} }, %$acl_write, http => ['PUT', '/v1/acl/auth-method', '{"Name":"bad","Type":"none"}'], fails => 1 },
	'acl.method_delete' => { q => { IDs => ['none'] }, %$acl_write, http => ['DELETE', '/v1/acl/auth-method/none'], fails => 1 },
	'acl.method_read' => { q => { Name => 'none' }, %$acl_read, http => ['GET', '/v1/acl/auth-method/none'], fails => 1 },
	'acl.method_list' => { %$acl_read, http => ['GET', '/v1/acl/auth-methods'] },
	'acl.binding_set' => { q => { ID => '', Description => '', AuthMethod => 'none', Selector => '', BindType => 'service', BindName => 'x' }, %$acl_write,
		http => ['PUT', '/v1/acl/binding-rule', '{"AuthMethod":"none","BindType":"service","BindName":"x"}'], fails => 1 },
	'acl.binding_delete' => { q => { IDs => [$uuid] }, %$acl_write, http => ['DELETE', "/v1/acl/binding-rule/$uuid"], fails => 1 },
	'acl.binding_read' => { q => { ID => $uuid }, %$acl_read, http => ['GET', "/v1/acl/binding-rule/$uuid"], fails => 1 },
	'acl.binding_list' => { q => {}, %$acl_read, http => ['GET', '/v1/acl/binding-rules'] },
	'acl.login' => { q => { AuthMethod => 'none', BearerToken => 'x.y.z', Token => {} }, says => qr/^40[0-9] (?!.*\Q$Acl::ROOT\E)/, http => ['POST', '/v1/acl/login', '{"AuthMethod":"none","BearerToken":"x.y.z"}'] },
	'acl.logout' => { q => { IDs => [] }, says => qr/^403 (?:Permission denied|ACL not found)/, http => ['POST', '/v1/acl/logout'] },
	'acl.resolve' => { open => 1 },
	'acl.authorize' => { q => { Requests => [{ Resource => 'key', Segment => 'k', Access => 'write' }] }, part => 'Allow', hides => ['0'], rules => 'key "k" { policy = "write" }', local => 1 },
	'acl.replication' => { open => 1, http => ['GET', '/v1/acl/replication'] },
	'acl.translate' => { q => { Rules => 'key "" { policy = "read" }', AccessorID => '' }, %$acl_read, http => ['POST', '/v1/acl/rules/translate', 'key "" { policy = "read" }'] },

	'agent.services' => { q => {}, hides => {}, rules => 'service "web" { policy = "read" }', http => ['GET', '/v1/agent/services'] },
	'agent.service' => { q => { ID => 'web' }, lacks => ['service:read', 'web'], rules => 'service "web" { policy = "read" }', http => ['GET', '/v1/agent/service/web'] },
	'agent.checks' => { q => {}, hides => {}, rules => 'service "web" { policy = "read" }', http => ['GET', '/v1/agent/checks'] },
	'agent.health' => { q => { ID => 'web' }, lacks => ['service:read', 'web'], rules => 'service "web" { policy = "read" }', http => ['GET', '/v1/agent/health/service/id/web'] },
	'agent.service_register' => { q => { Service => { Name => 'api', ID => 'api' } }, lacks => ['service:write', 'api'], rules => 'service "api" { policy = "write" }',
		http => ['PUT', '/v1/agent/service/register', '{"Name":"api","ID":"api"}'] },
	'agent.service_deregister' => { q => sub { { ID => local_service() } }, lacks => ['service:write', 'gone'], rules => 'service "gone" { policy = "write" }',
		http => ['PUT', sub { '/v1/agent/service/deregister/' . local_service() }] },
	'agent.check_register' => { q => { CheckID => 'nodecheck', Name => 'nodecheck', TTL => 3600 * 1000000000 }, lacks => ['node:write', 'm1'], rules => 'node "m1" { policy = "write" }',
		http => ['PUT', '/v1/agent/check/register', '{"CheckID":"nodecheck","Name":"nodecheck","TTL":"60m"}'] },
	'agent.check_deregister' => { q => sub { local_check(); { ID => 'gone' } }, lacks => ['node:write', 'm1'], rules => 'node "m1" { policy = "write" }',
		http => ['PUT', sub { local_check(); '/v1/agent/check/deregister/gone' }] },
	'agent.check_update' => { q => { CheckID => 'webcheck', Status => 'passing' }, lacks => ['service:write', 'web'], rules => 'service "web" { policy = "write" }',
		http => ['PUT', '/v1/agent/check/pass/webcheck'] },
	'agent.maintenance' => { q => { Enable => $false }, lacks => ['node:write', 'm1'], rules => 'node "m1" { policy = "write" }', http => ['PUT', '/v1/agent/maintenance?enable=false'] },
	'agent.why' => { q => { ID => 'web' }, lacks => ['service:read', 'web'], rules => 'service "web" { policy = "read" }', http => ['GET', '/v1/agent/why/web'] },
	'dns.explain' => { q => { Service => 'svc1' }, part => 'Instances', hides => [], rules => "$x1 $svc", http => ['GET', '/v1/agent/dns/svc1'] },

	'agent.reload' => { %$daemons, lacks => ['agent:write', 'm1'], rules => 'agent "m1" { policy = "write" }', http => ['PUT', '/v1/agent/reload'] },
	'agent.leave' => { %$daemons, lacks => ['agent:write', 'm1'], denials => 1, http => ['PUT', '/v1/agent/leave'] },
	'agent.status' => $daemons,
	'agent.token_set' => { %$daemons, lacks => ['agent:write', 'm1'], rules => 'agent "m1" { policy = "write" }', http => ['PUT', '/v1/agent/token/replication', '{"Token":"x"}'] },

	# Open to whoever reaches the port, until it speaks TLS; a stranger gets nowhere with them without being a server.
	'peer.hello' => { peers => 1 }, 'peer.raft' => { peers => 1 }, 'peer.join' => { peers => 1 }, 'peer.bootstrap' => { peers => 1 },
);
sub local_service { Acl::http($n, $Acl::ROOT, 'PUT', '/v1/agent/service/register', { Name => 'gone', ID => 'gone' }); return 'gone' }
sub local_check { Acl::http($n, $Acl::ROOT, 'PUT', '/v1/agent/check/register', { Name => 'gone', CheckID => 'gone', TTL => '60m' }) }

is_deeply([sort grep { !$row{$_} } keys %Frame::OP], [], 'every operation has a row');
is_deeply([sort grep { !$Frame::OP{$_} } keys %row], [], 'every row has an operation');

# ---- asking
my %access;
{
	open my $f, '<', "$ENV{SRCDIR}/lib/ops.def" or die "ops.def: $!";
	while (<$f>) { $access{$1} = [$2, $3] if /^OP\(\d+,\s*\w+,\s*"([^"]+)",\s*(\w+),\s*(\w+)/ }
}
sub given { my ($v) = @_; return ref $v eq 'CODE' ? $v->() : $v }
# [0 or the status of an error, what came]
sub ask
{
	my ($to, $token, $op, %options) = @_;
	my ($meta, $p) = $to->ask($op, given($row{$op}{q}), { defined $token ? (Token => $token) : (), %options });

	return [$p->[0]{Code}, $p->[0]{Text}] if defined $meta && $row{$op}{item} && $p->[0]{Code};
	return defined $meta ? [0, $row{$op}{part} ? $p->{$row{$op}{part}} : $p] : [$p->{Code}, $p->{Text}];
}
sub web
{
	my ($token, $op) = @_;
	my ($method, $path, $body) = map { given($_) } @{$row{$op}{http}};
	my ($status, $text) = Acl::http($n, $token, $method, $path, $body);
	my $p = $status == 200 && $text =~ /^[\[{"ntf]/ ? eval { $json->decode($text) } : $text;

	return [$status == 200 ? 0 : $status, $status == 200 && $row{$op}{part} ? $p->{$row{$op}{part}} : $p];
}
sub text { my ($r) = @_; return "$r->[0] " . (ref $r->[1] ? $json->encode($r->[1]) : $r->[1] // 'nothing') }
sub is_hidden { my ($r, $h) = @_; return $r->[0] == 0 && $json->encode($r->[1]) eq $json->encode($h) }

# By whom, of: nobody, weak, wrong, right; how it is said in the test's name.
sub judge
{
	my ($op, $whom, $r, $how) = @_;
	my $x = $row{$op};
	my $name = "$op, $whom, $how";
	my $web = $how eq 'HTTP';

	return ok($r->[0] == 0, $name) || diag text($r) if $x->{anyone} && !($x->{web_checks} && $web && $whom eq 'wrong');
	return is(text($r), '403 ACL not found', $name) if $whom eq 'wrong' && !$x->{says};
	return like(text($r), $x->{says}, $name) if $x->{says} && $whom ne 'wrong';
	return like(text($r), qr/^40[0-9] /, $name) if $x->{says};
	if ($whom eq 'right') {
		my $ok = $x->{fails} ? $r->[0] != 403 : $r->[0] == 0;
		$ok &&= !is_hidden($r, $x->{hides}) if exists $x->{hides};
		return ok($ok, $name) || diag text($r);
	}
	return ok($r->[0] == 0, $name) || diag text($r) if $x->{open} || $x->{anyone};
	return is($r->[0], $x->{web}, $name) if $web && $x->{web};
	return ok(is_hidden($r, $x->{hides}), $name) || diag text($r) if exists $x->{hides};
	my ($what, $on) = @{$x->{lacks}};
	my $who = $whom eq 'nobody' ? 'anonymous token' : "token with AccessorID '$weak_accessor'";
	my $long = "Permission denied: $who lacks permission '$what'" . (defined $on ? " on \"$on\"" : '');
	like(text($r), qr/^403 (?:\Q$long\E|Permission denied: Missing \Q$what\E on \Q@{[$on \/\/ '']}\E)/, $name);
}

for my $op (sort { $Frame::OP{$a} <=> $Frame::OP{$b} } keys %row) {
	my $x = $row{$op};
	my ($by, $access) = @{$access{$op}};
	my ($to) = $x->{daemons} || $x->{peers} ? () : $sock{lc $by};
	my $right = $x->{rules} ? (Acl::token($n, $x->{rules}))[0] : undef;
	my @who = (['nobody', undef], ['weak', $weak], ['wrong', 'not-a-token'], $right ? ['right', $right] : ());
	my $far = $by eq 'RAFTD' && $access =~ /^(?:READ|WRITE|LEADER)$/;

	for my $w (@who) {
		judge($op, $w->[0], ask($to, $w->[1], $op), "the daemon's socket") if $to;
		judge($op, $w->[0], ask($tcp, $w->[1], $op), 'the servers\' port') if $to && $far;
		judge($op, $w->[0], web($w->[1], $op), 'HTTP') if $x->{http} && !($x->{denials} && $w->[0] eq 'right');
	}
	# A stranger is believed nothing that he says of himself; the token of a node's own agent is good on that node alone.
	if ($to && $far && !$x->{anyone} && !$x->{open}) {
		judge($op, 'nobody', ask($tcp, undef, $op, Internal => $true), 'the servers\' port, as if a daemon');
		judge($op, 'wrong', ask($tcp, $RECOVERY, $op), 'the servers\' port, with the agent\'s own token');
	}
	# What is for this node alone is not there for others.
	if (!$far && !$x->{peers}) {
		my $s = stranger();
		my $id = $s->start($op, given($x->{q}), { Token => $Acl::ROOT, Internal => $true });
		my @r = $s->reply(10);
		ok(!@r || !defined $r[1], "$op is not served to other nodes");
	}
}

# ---- peers' operations do not make a server of a stranger
{
	my $s = Frame::Tcp->new($n->{ip}, $n->{ports}{server});
	my ($id) = $s->start('kv.get', { Key => 'k/a' }, { Token => $Acl::ROOT });
	my @r = $s->reply(10);
	ok(!@r || !defined $r[1], 'who has not greeted is told nothing');
	for my $op ('peer.raft', 'peer.bootstrap') {
		my $t = stranger();
		$t->start($op, {}, {});
		my @got = $t->reply(10);
		ok(!@got || !defined $got[1], "$op: refused");
	}
	is(scalar @{root('status.peers')}, 1, 'there is one server as before');
}

# ---- the same secret as a token of the state, without rights: to other nodes it is no more than that, also when they have waited
{
	root('acl.token_set', { Verb => 'create', Token => { SecretID => $RECOVERY, Description => 'the agent\'s own' } });
	my $s = stranger();
	my ($meta, $nodes) = $s->ask('catalog.nodes', {}, { Token => $RECOVERY });
	is_deeply($nodes, [], 'nothing is shown to another node');
	ok(@{($sock{raftd}->ask('catalog.nodes', {}, { Token => $RECOVERY }))[1]}, 'and all to this one');
	$s->start('catalog.nodes', {}, { Token => $RECOVERY, MinIndex => $meta->{Index} });
	my $local = Frame::Client->new("$run/raftd.sock");
	$local->start('catalog.nodes', {}, { Token => $RECOVERY, MinIndex => $meta->{Index} });
	root('catalog.register', { Node => 'x9', Address => '10.0.0.9' });
	ok(@{($local->reply)[2]}, 'who waits here is told of a new one');
	my @r = $s->reply(2);
	ok(!@r || $json->encode($r[2]) eq '[]', 'who waits there is not') || diag explain \@r;
}

# ---- expired: one that could do everything
sleep 0.1 while time < $expires + 0.5;
web_service();	# the reload has dropped it
for my $op (sort { $Frame::OP{$a} <=> $Frame::OP{$b} } keys %row) {
	my $x = $row{$op};
	my ($to) = $x->{daemons} || $x->{peers} ? () : $sock{lc $access{$op}[0]};

	judge($op, 'wrong', ask($to, $expired, $op), "the daemon's socket, expired") if $to;
	judge($op, 'wrong', web($expired, $op), 'HTTP') if $x->{http};
}

# ---- of all that no secret is in the log
my $log = $n->log_text . $n->err_text;
unlike($log, qr/\Q$_\E/, 'no secret is in the log') for $Acl::ROOT, $RECOVERY, $weak, $expired;
done_testing;
