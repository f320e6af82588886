#!/usr/bin/perl
# Rows of the API's description that are told in no other test, by tables: a request, its answer.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use FakeDaemons;
use Frame;
use JSON::PP ();
use Node;
use Raw;
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->canonical->allow_nonref;
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $NONE = '00000000-0000-4000-8000-000000000000';
my $n = Node->new(name => 'rows', wait => 'agent');
my $r;

sub ask { my ($method, $path, $body, $headers, $at) = @_; return Raw->new($at // $n)->ask($method, "/v1/$path", $headers, ref $body ? $json->encode($body) : $body) }
sub text { my $x = ask(@_); return "$x->{status} $x->{body}" }
sub put { my ($path, $body) = @_; return text('PUT', $path, $body // '') }
sub get { my ($path) = @_; my $x = ask('GET', $path); return $x->{status} == 200 ? $json->decode($x->{body}) : "$x->{status} $x->{body}" }
sub index_of { return ask('GET', $_[0])->{headers}{'X-Consul-Index'} }
sub session { my ($b) = @_; return $json->decode(ask('PUT', 'session/create', $b // {})->{body})->{ID} }
# Rows of [method, path, body, answer].
sub rows { my ($what, @rows) = @_; is text(@$_[0 .. 2]), $_->[3], "$what: $_->[0] $_->[1]" . (defined $_->[2] ? ' ' . substr(ref $_->[2] ? $json->encode($_->[2]) : $_->[2], 0, 90) : '') for @rows }

ok $n->wait_for(sub { my $x = $n->get_json('/v1/catalog/nodes'); @$x && $x->[0]{TaggedAddresses} && $x->[0]{Meta} }), 'our node is in the catalog';
ok $n->wait_for(sub { @{$n->get_json('/v1/health/service/consul?passing')} }), 'and well';
my $began = time;
my $brief = session({ Name => 'brief', TTL => '10s', Behavior => 'delete' });

# ---- 0.7 nothing found
rows('nothing found', map { [GET => $_->[0], undef, $_->[1]] }
	['kv/none', '404 '], ['kv/none?raw', '404 '], ['kv/none/?recurse', '404 '], ['kv/none/?keys', '404 '], ['kv/?keys', '200 []'],
	['catalog/service/none', '200 []'], ['health/service/none', '200 []'], ['health/service/none?passing', '200 []'], ['health/state/bogus', '200 []'],
	['health/checks/none', '200 []'], ['health/node/none', '200 []'], ['catalog/nodes?node-meta=no:such', '200 []'],
	["session/info/$NONE", '200 []'], ['session/node/none', '200 []'], ['event/list', '200 []'], ['query', '200 []'],
	['catalog/services?node-meta=no:such', '200 {}'], ['catalog/node/none', '200 null'], ['catalog/node-services/none', '200 {"Node":null,"Services":null}'],
	['coordinate/node/none', '404 '], ['session/info/none', '500 failed session lookup: index error: UUID must be 36 characters'],
	['agent/service/none', '404 unknown service ID: none'],
	['agent/health/service/id/none', '404 {"AggregatedStatus":"critical","Service":null,"Checks":null}'], ['agent/health/service/name/none', '404 []'],
	['query/none/execute', '404 Query not found'], ['acl/token/none', '401 ACL support disabled']);
is text('PUT', "session/renew/$NONE"), "404 Session id '$NONE' not found", 'nothing found: session/renew';
like text('GET', 'query/none'), qr/^500 /, 'nothing found: a query whose id is no UUID';
ok ask('GET', $_)->{headers}{'X-Consul-Index'} >= 1, "an index all the same: $_" for 'kv/none', 'kv/none/?recurse', 'catalog/service/none', 'catalog/node/none', 'session/list';

# ---- 0.2 datacenters that there are not
rows('another datacenter', map { [@$_[0 .. 1], $_->[2], '500 No path to datacenter'] }
	(map { [GET => "$_?dc=mars"] } qw(kv/a catalog/nodes catalog/services catalog/service/a catalog/node/a catalog/node-services/a catalog/connect/a
		health/node/a health/checks/a health/state/any health/service/a session/list session/node/a query query/a/execute coordinate/nodes coordinate/node/a
		status/leader status/peers operator/raft/configuration operator/autopilot/configuration operator/usage), "session/info/$NONE"),
	(map { [PUT => "$_->[0]?dc=mars", $_->[1]] } ['kv/a', 'x'], ['catalog/register', { Node => 'a', Address => '1.2.3.4' }], ['catalog/deregister', { Node => 'a' }],
		['session/create', ''], ["session/destroy/$NONE", ''], ["session/renew/$NONE", ''], ['txn', '[]'], ['event/fire/a', '']),
	[DELETE => 'kv/a?dc=mars'], [POST => 'query?dc=mars', { Name => 'q', Service => { Service => 'a' } }]);
is ask('GET', $_)->{status}, 200, "our own: $_" for map { "$_?dc=dc1" } qw(catalog/nodes health/state/any session/list status/leader query);

# ---- 0.1 durations as text and as nanoseconds; 5.1 a check's own
for (['text', '10s', '1m30s'], ['number', 10_000_000_000, 90_000_000_000]) {
	is put('agent/check/register', { Name => $_->[0], TCP => '127.0.0.1:1', Interval => $_->[1], Timeout => $_->[2] }), '200 ', "durations as $_->[0]";
	is join(' ', @{get('agent/checks')->{$_->[0]}}{qw(Interval Timeout)}), '10s 1m30s', 'are shown as text';
	is put("agent/check/deregister/$_->[0]"), '200 ', 'and gone';
}
like put('agent/check/register', { Name => 'x', TCP => 'x:1', Interval => 'soon' }), qr/^400 Request decode failed: .*invalid duration "soon"/, 'what is no duration';

# ---- 0.2 near and node-meta wherever they are taken
is put('catalog/register', { Node => "m$_", Address => "10.0.0.$_", NodeMeta => { zone => $_ == 2 ? 'b' : 'a', rank => "$_" }, Service => { Service => 'web' },
	Checks => [{ Name => 'up', Status => 'passing', ServiceID => 'web' }] }), '200 true', "node m$_" for 1 .. 3;
sub nodes { my ($path) = @_; return join ' ', map { ref $_->{Node} ? $_->{Node}{Node} : $_->{Node} } @{get($path)} }
for ('catalog/nodes?', 'catalog/service/web?', 'health/checks/web?', 'health/state/passing?', 'health/service/web?', 'health/service/web?passing&') {
	is nodes($_ . 'node-meta=zone:a'), 'm1 m3', "${_}node-meta";
	is nodes($_ . 'node-meta=zone:a&node-meta=rank:3'), 'm3', '... all of them must hold';
	is nodes($_ . 'node-meta=zone:A'), '', '... exactly';
	is nodes($_ . 'node-meta=zone:a&near=nobody'), 'm1 m3', '... near an unknown node is no error';
}
is put('catalog/register', { Node => $_->[0], SkipNodeUpdate => $true, Service => { Service => 'tagged', Tags => $_->[1] } }), '200 true', "tags of $_->[0]" for ['m1', ['a', 'B']], ['m2', ['a']], ['m3', []];
for my $path ('catalog/service/tagged?', 'health/service/tagged?', 'health/service/tagged?passing&') {
	is nodes($path . $_->[0]), $_->[1], "$path$_->[0]" for ['', 'm1 m2 m3'], ['tag=a', 'm1 m2'], ['tag=A&tag=b', 'm1'], ['tag=a&tag=c', ''];
}
for my $path ('catalog/datacenters', 'catalog/services', 'catalog/service/tagged', 'health/service/tagged') {
	is ask('GET', "$path?cached")->{headers}{'X-Cache'}, $_, "$path?cached: $_" for 'MISS', 'HIT';
	is ask('GET', $path)->{headers}{'X-Cache'}, undef, "$path: not without asking";
}
is ask('GET', "$_?cached")->{headers}{'X-Cache'}, undef, "$_?cached: not kept" for 'catalog/nodes', 'health/state/any', 'kv/a', 'session/list';
is nodes('health/service/web?merge-central-config&peer=&sg='), 'm1 m2 m3', 'parameters of newer releases harm nobody';
is nodes("health/service/web?passing=$_"), 'm1 m2 m3', "passing=$_" for qw(0 f false F FALSE 1 t true T TRUE);
rows('passing', map { [GET => "health/service/web?passing=$_", undef, '400 Invalid value for ?passing'] } qw(yes 2 no));

# ---- 1 KV
is put("kv/order/$_", 'x'), '200 true', "key $_" for qw(b B a a/ a-1 a/1 aa %c3%a9 0);
is_deeply get('kv/order/?keys'), [map { "order/$_" } qw(0 B a a-1 a/ a/1 aa b), "\x{c3}\x{a9}"], 'keys are sorted by their bytes';
is_deeply [map { $_->{Key} } @{get('kv/order/a?recurse')}], [map { "order/$_" } qw(a a-1 a/ a/1 aa)], 'a prefix ends anywhere';
my $one = session({ LockDelay => '0s' });
my $two = session({ LockDelay => '0s', Behavior => 'delete' });
is put("kv/released?acquire=$one&flags=5", 'held'), '200 true', 'a key of a session that releases';
is put("kv/deleted?acquire=$two", 'held'), '200 true', 'and of one that deletes';
is put("kv/loose?acquire=$one", 'held'), '200 true', 'and one more';
is text('DELETE', 'kv/loose'), '200 true', 'a plain DELETE ignores the lock';
is get('kv/loose'), '404 ', 'and takes the key';
my $before = get('kv/released')->[0];
is put("session/destroy/$_"), '200 true', 'a session ends' for $one, $two;
my $after = get('kv/released')->[0];
ok $after->{ModifyIndex} > $before->{ModifyIndex}, 'the key of the first moves its index';
is_deeply $after, { map({ $_ => $before->{$_} } qw(Key Flags Value LockIndex CreateIndex)), ModifyIndex => $after->{ModifyIndex} }, 'and is free, with all that it had';
is get('kv/deleted'), '404 ', 'the key of the second is gone';
is put("kv/released?acquire=$one", 'x'), qq(500 raft apply failed: invalid session "$one"), 'a session that has ended locks nothing';
is put('kv/released?acquire=junk', 'x'), '500 raft apply failed: failed session lookup: index error: UUID must be 36 characters', 'nor does what is no session';
is put("kv/new?release=$one", 'x'), '200 false', 'release of an absent key';
is get('kv/new'), '404 ', 'makes none';
is ask('GET', 'kv/released?raw&recurse')->{headers}{'Content-Type'}, 'application/json', 'raw is ignored with recurse';
my @conflict = map { [PUT => "kv/c?$_->[0]", 'x', "400 Conflicting flags: $_->[1]"] }
	['cas=1&acquire=a', 'acquire=a&cas=1'], ['acquire=a&release=b', 'acquire=a&release=b'], ['release=b&cas=1', 'cas=1&release=b'],
	['flags=3&cas=1&release=b&acquire=a', 'acquire=a&cas=1&flags=3&release=b'];
rows('conflicting', @conflict, [DELETE => 'kv/c?recurse&cas=1', undef, '400 Conflicting flags: cas=1&recurse='], [PUT => 'kv/', 'x', '400 Missing key name'],
	[DELETE => 'kv/', undef, '400 Missing key name'], [GET => 'kv/', undef, '400 Missing key name']);

# ---- 2 sessions
is get('session/info/' . session({ TTL => $_ }))->[0]{TTL}, $_, "a TTL of '$_'" for '', '0', '0s', '10s', '86400s';
rows('no session', map { [PUT => 'session/create', $_->[0], "500 $_->[1]"] }
	[{ TTL => '9s' }, "Invalid Session TTL '9000000000', must be between [10s=24h0m0s]"], [{ TTL => '86401s' }, "Invalid Session TTL '86401000000000', must be between [10s=24h0m0s]"],
	[{ Behavior => 'keep' }, "Invalid Behavior setting 'keep'"], [{ Node => 'none' }, 'apply failed: Missing node registration'],
	[{ NodeChecks => ['none'] }, "apply failed: Missing check 'none' registration"]);
is put('agent/check/register', { Name => 'bad', TTL => '1h' }), '200 ', 'a critical check';
ok $n->wait_for(sub { grep { $_->{CheckID} eq 'bad' } @{get('health/node/rows')} }), 'in the catalog';
is put('session/create', { NodeChecks => ['bad'] }), q(500 apply failed: Check 'bad' is in critical state), 'carries no session';
is put('agent/check/deregister/bad'), '200 ', 'it goes';
my $owner = session();
my $bound = $json->decode(ask('POST', 'query', { Name => 'bound', Session => $owner, Service => { Service => 'web' } })->{body})->{ID};
is scalar @{get("query/$bound")}, 1, 'a query of a session';
is put("session/destroy/$owner"), '200 true', 'which ends';
is_deeply get('query'), [], 'takes its queries along';

# ---- 3 registrations
my $ids = '11111111-2222-4333-8444-55555555555';
rows('register', map { [PUT => 'catalog/register', $_->[0], $_->[1]] }
	[{ Address => '1.2.3.4' }, '500 Must provide node'], [{ Node => 'x' }, '500 Must provide address if SkipNodeUpdate is not set'],
	[{ Node => 'x', Address => '1.2.3.4', Service => { ID => 'a' } }, '500 Must provide service name with ID'],
	(map { [{ Node => 'x', Address => '1.2.3.4', Service => { Service => 'a', Address => $_ } }, '500 Invalid service address'] } '0.0.0.0', '::'),
	[{ ID => 'x', Node => 'x', Address => '1.2.3.4' }, '500 Bad node ID: uuid string is wrong length'],
	[{ Node => 'm1', SkipNodeUpdate => $true, Check => { Name => 'c', ServiceID => 'none' } }, '500 failed inserting check: Missing service registration on node "m1"'],
	[{ Node => 'm1', SkipNodeUpdate => $true, Check => { Name => 'c', Node => 'm2' } }, q(500 check node "m2" does not match node "m1")],
	[{ Node => 'm1', SkipNodeUpdate => $true, Check => { Name => 'plain' } }, '200 true'],
	[{ Node => 'm1', SkipNodeUpdate => $true, Check => { CheckID => 'odd', Status => 'any word' } }, '200 true'],
	[{ ID => "${ids}1", Node => 'Owner', Address => '10.1.0.1', Service => { Service => 'owned' }, Check => { CheckID => 'serfHealth', Name => 'Serf Health Status', Status => 'passing' } }, '200 true'],
	[{ ID => "${ids}2", Node => 'owner', Address => '10.1.0.2' }, qq(500 failed inserting node: Error while renaming Node ID: "${ids}2": Node name owner is reserved by node ${ids}1 with name Owner (10.1.0.1))]);
my %checks = map { $_->{CheckID} => $_ } @{get('health/node/m1')};
is join(' ', @{$checks{plain}}{qw(CheckID Name Status)}), 'plain plain critical', 'a check has its name for an ID, and is critical';
is $checks{odd}{Status}, 'any word', 'a status is not looked at';
is nodes('health/state/any%20word'), 'm1', 'and is found';
is scalar @{get('catalog/service/owned')}, 1, 'a service of a node with an ID';
is put('catalog/register', { ID => "${ids}1", Node => 'renamed', Address => '10.1.0.1' }), '200 true', 'the node is renamed';
is_deeply [get('catalog/node/owner'), get('catalog/service/owned'), get('health/node/owner')], [undef, [], []], 'the old name goes, with all that it had';
is get('catalog/node/' . substr $ids, 0, 8)->{Node}{Node}, 'renamed', 'a node by the beginning of its ID';
is put('catalog/register', { Node => 'm2', Address => '10.0.0.22' }), '200 true', 'a node without ID is written over';
is get('catalog/node/M2')->{Node}{Address}, '10.0.0.22', 'by name';
rows('deregister', map { [PUT => 'catalog/deregister', $_, '200 true'] } { Node => 'none' }, { Node => 'none', ServiceID => 'x' }, { Node => 'm1', CheckID => 'x' },
	{ Node => 'm1', CheckID => 'odd' }, { Node => 'renamed' });
# The agent compares ID, tagged addresses and meta, not the address.
my $self = get('catalog/node/rows')->{Node};
is put('catalog/register', { %$self{qw(ID Node TaggedAddresses)}, NodeMeta => $self->{Meta}, Address => '10.3.3.3' }), '200 true', 'another address for a node with an agent';
is put('agent/service/register', { Name => 'poke' }), '200 ', 'whose agent writes meanwhile';
ok $n->wait_for(sub { @{get('catalog/service/poke')} }), 'a service';
is get('catalog/node/rows')->{Node}{Address}, '10.3.3.3', 'which leaves the address';
is put('catalog/register', { %$self{qw(ID Node Address TaggedAddresses)}, NodeMeta => $self->{Meta} }), '200 true', 'as it was';

# ---- 3, 4, 5: tags and meta where there are none
is put('catalog/register', { Node => 'm1', SkipNodeUpdate => $true, Service => { Service => 'bare' } }), '200 true', 'a bare service';
my $s = get('catalog/service/bare')->[0];
is_deeply [@$s{qw(ServiceTags ServiceMeta ServiceWeights)}], [[], {}, { Passing => 1, Warning => 1 }], 'catalog/service: no tags, no meta';
$s = get('health/service/bare')->[0]{Service};
is_deeply [@$s{qw(Tags Meta Weights)}], [[], undef, { Passing => 1, Warning => 1 }], 'health/service';
is_deeply [@$s{qw(Proxy Connect)}], [{ Mode => '', MeshGateway => {}, Expose => {} }, {}], 'Proxy and Connect of a plain service';
is_deeply get('catalog/node/m1')->{Services}{bare}{Tags}, [], 'catalog/node';
is_deeply [@{get('agent/services')->{poke}}{qw(Tags Meta)}], [[], {}], 'agent/services';
is put('agent/service/register', { Name => 'whole', ID => 'w', Kind => '', Tags => ['t'], Port => 1, Address => '10.9.9.9', EnableTagOverride => $true,
	TaggedAddresses => { lan => { Address => '10.9.9.8', Port => 2 } }, Weights => { Passing => 3, Warning => 2 }, Meta => { k => 'v' } }), '200 ', 'a service with everything';
is_deeply get('agent/services')->{w}, { ID => 'w', Service => 'whole', Tags => ['t'], Meta => { k => 'v' }, Port => 1, Address => '10.9.9.9',
	TaggedAddresses => { lan => { Address => '10.9.9.8', Port => 2 }, map { $_ => { Address => '10.9.9.9', Port => 1 } } qw(lan_ipv4 wan_ipv4) },
	Weights => { Passing => 3, Warning => 2 }, EnableTagOverride => $true, Datacenter => 'dc1' }, 'agent/services shows it';
ok $n->wait_for(sub { @{get('catalog/service/whole')} }), 'the catalog has it';
$s = get('catalog/service/whole')->[0];
is_deeply [@$s{qw(ServiceTaggedAddresses ServiceWeights ServiceEnableTagOverride)}], [get('agent/services')->{w}{TaggedAddresses}, { Passing => 3, Warning => 2 }, $true],
	'with all of it';

is put('agent/service/register', { Name => 'socket', SocketPath => '/run/w' }), '200 ', 'a service at a Unix socket';
is get('agent/services')->{socket}{SocketPath}, '/run/w', 'agent/services: SocketPath';
ok $n->wait_for(sub { @{get('catalog/service/socket')} }), 'the catalog has it';
is get('catalog/service/socket')->[0]{ServiceSocketPath}, '/run/w', 'catalog/service: SocketPath';

# ---- 3 limits of meta, at the agent
sub meta { my (%m) = @_; return put('agent/service/register', { Name => 'meta', Meta => \%m }) }
is meta(map { ("k$_" => 'v') } 1 .. 64), '200 ', '64 pairs';
like meta(map { ("k$_" => 'v') } 1 .. 65), qr/^400 Invalid Service Meta: Node metadata cannot contain more than 64 key\/value pairs$/, '65 pairs';
is meta('k' x 128 => 'v' x 512), '200 ', '128 and 512 characters';
like meta(@$_[0, 1]), qr/^400 Invalid Service Meta: /, "meta $_->[2]" for ['k' x 129 => 'v', 'a key of 129'], ['k' => 'v' x 513, 'a value of 513'], ['a b' => 'v', 'a blank'], ['consul-x' => 'v', 'a reserved prefix'], ['' => 'v', 'no key'];

# ---- 5.1 health of a service includes the node's checks; the worst counts
sub health { my ($what) = @_; $r = ask('GET', "agent/health/service/$what", undef, { Accept => 'text/plain' }); return "$r->{status} $r->{body}" }
is put('agent/service/register', { Name => 'h', Checks => [{ CheckID => 'h1', TTL => '1h', Status => 'passing' }, { CheckID => 'h2', TTL => '1h', Status => 'passing' }] }), '200 ', 'a service with two checks';
is put('agent/check/register', { Name => 'ofnode', TTL => '1h', Status => 'passing' }), '200 ', 'and a check of the node';
for (['pass', 'pass', 'pass', '200 passing'], ['warn', 'pass', 'pass', '429 warning'], ['warn', 'fail', 'pass', '503 critical'], ['pass', 'pass', 'warn', '429 warning'], ['pass', 'pass', 'fail', '503 critical']) {
	my ($h1, $h2, $of, $want) = @$_;

	put("agent/check/$h1/h1");
	put("agent/check/$h2/h2");
	put("agent/check/$of/ofnode");
	is health('id/h'), $want, "$h1, $h2 and the node's $of";
	is health('name/h'), $want, '... by name';
}
is put('agent/maintenance?enable=true&reason=why'), '200 ', 'maintenance of the node';
is health('id/h'), '503 maintenance', 'is above all';
is get('agent/checks')->{_node_maintenance}{Notes}, 'why', 'with its reason';
is put('agent/maintenance?enable=false'), '200 ', 'it ends';
is put('agent/check/deregister/ofnode'), '200 ', 'so does the check';
is get('agent/checks')->{h1}{CreateIndex}, 0, 'agent/checks: no indexes';

# ---- 5.1 ids of checks
is put('agent/service/register', { Name => 'one', Check => { TTL => '1h' } }), '200 ', 'one check';
is put('agent/service/register', { Name => 'many', ID => 'm', Checks => [{ TTL => '1h' }, { TTL => '1h' }, { TTL => '1h', CheckID => 'own' }] }), '200 ', 'many checks';
is_deeply [sort grep { /^(?:service:(?:one|m)|own)/ } keys %{get('agent/checks')}], [qw(own service:m:1 service:m:2 service:one)], 'have their ids';
is get('agent/checks')->{$_}{Status}, 'critical', "$_ is critical at first" for 'service:one', 'own';
rows('refused', [PUT => 'agent/check/pass/none', '', '500 CheckID "none" does not have associated TTL'], [PUT => 'agent/check/update/own', { Status => 'foo' }, q(400 Invalid check status: 'foo')],
	[PUT => 'agent/check/register', { TTL => '1s' }, '400 Missing check name'], [PUT => 'agent/check/register', { Name => 'x', TTL => '1s', Status => 'foo' }, '400 Bad check status'],
	[PUT => 'agent/check/register', { Name => 'x', TTL => '1s', ServiceID => 'none' }, '500 ServiceID "x" does not exist'],
	[PUT => 'agent/service/maintenance/none?enable=true', '', '404 No service registered with ID "none"'], [PUT => 'agent/service/maintenance/m?enable=x', '', '400 Invalid value for enable: "x"'],
	[PUT => 'agent/maintenance?enable=x', '', '400 Invalid value for enable: "x"'], [PUT => 'agent/maintenance', '', '400 Missing value for enable']);

# ---- 5.2
is_deeply [sort keys %{get('agent/version')}], [qw(BuildDate FIPS HumanVersion SHA)], 'agent/version';
my $host = get('agent/host');
is_deeply [sort keys %$host], [qw(CPU CollectionTime Disk Errors Host Memory)], 'agent/host';
ok abs($host->{CollectionTime} / 1e9 - time) < 60, 'its time is in nanoseconds';
is get('agent/self')->{Member}{Status}, 1, 'alive is 1';
like get('agent/self')->{Member}{Tags}{build}, qr/^1\.\d+\.\d+:/, 'the build of a member';
is_deeply [sort keys %{get('agent/self')->{Config}}], [qw(BuildDate Datacenter NodeID NodeName PrimaryDatacenter Revision Server Version)], 'agent/self: Config';
ok get('agent/self')->{DebugConfig}{$_} ne '', "DebugConfig has $_" for qw(NodeName Datacenter DataDir);
my $monitor = Raw->new($n);
$monitor->send("GET /v1/agent/monitor HTTP/1.1\r\nHost: x\r\n\r\n");
my $named = 0;
ok $n->wait_for(sub { put('agent/service/register', { Name => 'logged' . $named++ }); $monitor->_more(time + 0.1); return $monitor->{in} =~ /\[INFO\]\s+agent: Synced service: service=logged/ }),
	'a monitor tells what it is not asked for otherwise';
unlike $monitor->{in}, qr/\[DEBUG\]/, 'a monitor tells from INFO on';
$monitor->close;
is put('agent/force-leave/zz'), q(500 agent: No node found with name 'zz'), 'force-leave of nobody';
is text('PUT', 'agent/token/default', { Token => 'x' }), '401 ACL support disabled', 'tokens without ACLs';

# ---- a second node, as for a try: -dev
my $d = Node->new(dev => 1, wait => 'agent', config => { translate_wan_addrs => $true, disable_http_unprintable_char_filter => $true,
	service => { name => 'filed' } });
sub dev { return ask(@_[0 .. 2], undef, $d) }
is dev('PUT', 'kv/a', 'x')->{body}, "true\n", '-dev: JSON is always indented';
like dev('GET', 'kv/a')->{body}, qr/^\[\n    \{\n        "LockIndex": 0,\n.*\n    \}\n\]\n\z/s, 'by four blanks';
is dev('GET', 'session/list')->{body}, "[]\n", 'no sessions: an empty list';
is dev('GET', 'kv/a')->{headers}{'X-Consul-Translate-Addresses'}, 'true', 'translate_wan_addrs is told';
is ask('GET', 'kv/none')->{headers}{'X-Consul-Translate-Addresses'}, undef, 'where it is on';
is put('kv/tab%09', 'x') =~ /^400 / ? 1 : 0, 1, 'a tab in a key';
is dev('PUT', 'kv/tab%09', 'x')->{status}, 200, 'unless disable_http_unprintable_char_filter says otherwise';
is dev('PUT', 'agent/service/register', { Name => 'mine', Check => { TTL => '1h' } })->{status}, 200, '-dev: a service of the API';
is_deeply [sort keys %{$d->get_json('/v1/agent/services')}], [qw(filed mine)], 'beside one of a file';
is dev('PUT', 'agent/reload', '')->{status}, 200, 'a reload';
ok $d->wait_for(sub { join(' ', sort keys %{$d->get_json('/v1/agent/services')}) eq 'filed' }), 'drops what is nowhere stored';
is_deeply $d->get_json('/v1/agent/checks'), {}, 'with its checks';
ok $d->wait_for(sub { !@{$d->get_json('/v1/catalog/service/mine')} }), 'and the catalog hears';
$d->stop;
unlike $d->log_text . $d->err_text, qr/Sanitizer|runtime error/, 'a clean end';
is put('agent/reload'), '200 ', 'with a data directory';
ok exists get('agent/services')->{h}, 'a reload keeps it';

# ---- 2 the session of the beginning: twice its TTL, not less
is put("kv/brief?acquire=$brief", 'x'), '200 true', 'a session with a TTL of 10 s' if time - $began < 15;
ok $n->wait_for(sub { !@{get("session/info/$brief")} }), 'ends by itself';
my $took = time - $began;
cmp_ok $took, '>=', 20, sprintf 'after twice its TTL (%.1f s)', $took;
cmp_ok $took, '<', 40, 'and not long after';
is get('kv/brief'), '404 ', 'its key is gone';

$n->stop;
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error|work still open/, 'a clean end';

# ---- 0.4 what httpd makes of raftd's errors; max_stale
my $ip = Node::_address();
my $port = Node::_free_port($ip);
my $h = Frame::Daemon->new('httpd', { node_name => 'n1', node_id => $NONE, datacenter => 'dc1', server => $true, addresses => { http => [$ip] }, ports => { http => $port }, log_level => 'WARN' });
my ($error, $contact, $known) = (undef, 0, $true);
$h->ask('daemon.info');
my $f = FakeDaemons->new($h->{dir}, raftd => {
	'kv.get' => sub { return $error },
	'catalog.nodes' => sub { my ($o) = @_;
		return { raw => Frame::pack_value({ Index => 7, KnownLeader => $known, LastContact => ($o->{Consistency} // 0) == 2 ? $contact : 0 }) . Frame::pack_value([]) } } });
sub fake
{
	my ($path) = @_;
	my $c = Raw->new({ ip => $ip, ports => { http => $port } });

	$c->send("GET /v1/$path HTTP/1.1\r\nHost: x\r\n\r\n");
	$f->serve(sub { $c->_more(time + 0.01); $c->{in} =~ /\r\n\r\n/ }) or return { status => 0, body => 'no answer' };
	return $c->reply;
}
for ([403, 'Permission denied: x', 403], [403, 'ACL not found', 403], [500, 'No cluster leader', 500], [500, 'No known Consul servers', 500], [500, 'anything else', 500], [404, 'not here', 404],
	[429, 'Rate limit reached, try again later', 429], [429, 'RPC rate limit exceeded', 429, '']) {
	$error = { error => $_->[0], text => $_->[1] };
	$r = fake('kv/a');
	is "$r->{status} $r->{body}", "$_->[2] " . ($_->[3] // $_->[1]), "raftd says $_->[0] $_->[1]";
}
for (['?stale', 5000, 2], ['?max_stale=10s', 5000, 2], ['?max_stale=3s', 5000, 2, 0], ['?max_stale=5s', 5000, 2], ['', 5000, 0]) {
	my ($q, $last, @want) = @$_;
	my $asked = $f->requests('catalog.nodes');

	$contact = $last;
	$r = fake("catalog/nodes$q");
	is join(' ', map { $_->{o}{Consistency} // 0 } ($f->requests('catalog.nodes'))[$asked .. $f->requests('catalog.nodes') - 1]), "@want", "catalog/nodes$q: asked so";
	is "$r->{headers}{'X-Consul-Lastcontact'} $r->{headers}{'X-Consul-Effective-Consistency'}", $want[-1] == 2 ? "$last stale" : '0 leader', '... and told';
}
$known = $false;
is fake('catalog/nodes?stale')->{headers}{'X-Consul-Knownleader'}, 'false', 'that no leader is known is told';
is $h->stop, 0, 'httpd ends';
unlike $h->log, qr/Sanitizer|runtime error/, 'cleanly';
done_testing;
