#!/usr/bin/perl
# Rows of the API's description from the status on, which no other test shows: who asks what, and what is answered literally;
# at a node without ACLs, and at one that denies by default.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Acl;
use Archive::Tar ();
use Compress::Zlib ();
use Digest::SHA ();
use JSON::PP ();
use MIME::Base64 ();
use Node;
use Raw;
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->canonical->allow_nonref;
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $n;
our $token;	# what asks with; undef: without any

sub ask
{
	my ($method, $path, $body, %h) = @_;

	$h{'X-Consul-Token'} = $token if defined $token;
	return Raw->new($n)->ask($method, "/v1/$path", \%h, ref $body ? $json->encode($body) : $body);
}
sub text { my $r = ask(@_); return "$r->{status} $r->{body}" }
sub get { my $r = ask('GET', @_); return $r->{status} == 200 ? $json->decode($r->{body}) : "$r->{status} $r->{body}" }
# [method, path, body, answer, what]: the answer is text, or a pattern.
sub table
{
	for (@_) {
		my ($method, $path, $body, $want, $what) = @$_;
		my $got = text($method, $path, $body);

		$what = "$method $path" . (defined $what ? ": $what" : '');
		if (ref $want) { like $got, $want, $what } else { is $got, $want, $what }
	}
}
sub b64 { return MIME::Base64::encode_base64($_[0], '') }
# The endpoints of the table of routes that begin so: [path, methods ...].
sub routes
{
	my ($prefix) = @_;

	open my $f, '<', "$ENV{SRCDIR}/httpd/routes.c" or die;
	return map { m{^\t\{ "/v1/(\Q$prefix\E[^"]*)",\s*([M_A-Z| ]+),} ? [split ' ', "$1 $2" =~ s/M_|\|//gr] : () } <$f>;
}

# ---- without ACLs
my $off = $n = Node->new(wait => 'agent', config => { node_meta => { rack => 'r1' } });
my $self = "$n->{ip}:$n->{ports}{server}";
ok $n->wait_for(sub { @{get('health/service/consul')} }), 'a server in its catalog';

# 6 status
my $began = time;
table(['GET', 'status/leader', undef, qq(200 "$self")], ['GET', 'status/peers', undef, qq(200 ["$self"])],
	['GET', 'status/leader?index=1000&wait=20s', undef, qq(200 "$self"), 'does not wait'], ['GET', 'status/peers?index=1000&wait=20s', undef, qq(200 ["$self"]), 'neither'],
	['GET', 'status/leader?dc=dc1', undef, qq(200 "$self")], ['GET', 'status/leader?dc=other', undef, '500 No path to datacenter'],
	['GET', 'status/peers?dc=other', undef, '500 No path to datacenter']);
cmp_ok time - $began, '<', 15, 'status is told at once';
ok !exists ask('GET', 'status/peers')->{headers}{'X-Consul-Index'}, 'and has no index';

# 8 transactions: every verb
my ($s1, $s2) = map { $json->decode(ask('PUT', 'session/create', { NodeChecks => [], LockDelay => '0s' })->{body})->{ID} } 1, 2;
my $shown;	# what the last transaction returned, without its indexes
sub txn
{
	my $r = ask('PUT', 'txn', [@_]);
	my $x = $json->decode($r->{body});

	$shown = $x->{Results};
	return $r->{status} == 200 ? join ' ', '200', map { my ($k) = keys %$_; my $e = $_->{$k}; "$k:" . ($e->{Key} // $e->{CheckID} // $e->{ID} || $e->{Node}) } @$shown :
		join '; ', $r->{status}, map { "$_->{OpIndex} $_->{What}" } @{$x->{Errors}};
}
sub kv { my ($verb, $key, %o) = @_; $o{Value} = b64($o{Value}) if defined $o{Value}; return { KV => { Verb => $verb, Key => $key, %o } } }
is txn(kv('cas', 'l', Value => 'a', Index => 0)), '200 KV:l', 'cas 0 creates';
is txn(kv('cas', 'l', Value => 'b', Index => 0)), '409; 0 failed to set key "l", index is stale', 'once';
is txn(kv('lock', 'l', Value => 'c', Session => $s1)), '200 KV:l', 'lock';
is "$shown->[0]{KV}{LockIndex} $shown->[0]{KV}{Session}", "1 $s1", 'with its session';
is txn(kv('lock', 'l', Session => $s2)), '409; 0 failed to lock key "l", lock is already held', 'lock of another';
is txn(kv('unlock', 'l', Session => $s2)), "409; 0 failed to unlock key \"l\", lock isn't held, or is held by another session", 'unlock of another';
is txn(kv('check-session', 'l', Session => $s1)), '200 KV:l', 'check-session';
is txn(kv('check-session', 'l', Session => $s2)), qq(409; 0 failed session check for key "l", current session "$s1" != "$s2"), 'of another';
like txn(kv('check-index', 'l', Index => 3)), qr/^409; 0 failed index check for key "l", current modify index \d+ != 3$/, 'check-index';
is txn(kv('check-not-exists', 'l'), kv('check-not-exists', 'none')), '409; 0 key "l" exists', 'check-not-exists';
is txn(kv('unlock', 'l', Value => 'd', Session => $s1)), '200 KV:l', 'unlock';
ok !exists $shown->[0]{KV}{Session}, 'nobody has it';
is txn(kv('get', 'none')), "409; 0 key \"none\" doesn't exist", 'get of nothing';
is txn(kv('set', 't/a', Value => '1'), kv('set', 't/b', Value => '2'), kv('get-tree', 't/'), kv('get-tree', 'none/')), '200 KV:t/a KV:t/b KV:t/a KV:t/b', 'get-tree may be empty';
is txn(kv('delete-cas', 't/a', Index => 1)), '409; 0 failed to delete key "t/a", index is stale', 'delete-cas';
is txn(kv('delete-cas', 't/a', Index => get('kv/t/a')->[0]{ModifyIndex}), kv('delete-tree', 't/'), kv('delete', 'l'), kv('get-tree', 't/')), '200', 'deletes show nothing';
sub node { my ($verb, %o) = @_; return { Node => { Verb => $verb, Node => { Node => 'ext', Address => '10.1.1.1', %o } } } }
sub service { my ($verb, %o) = @_; return { Service => { Verb => $verb, Node => 'ext', Service => { ID => 'web1', Service => 'web', %o } } } }
sub check { my ($verb, %o) = @_; return { Check => { Verb => $verb, Check => { Node => 'ext', CheckID => 'ping', Name => 'ping', Status => 'passing', %o } } } }
for my $c (['node', \&node, 'Node:ext', 'node "ext"'], ['service', \&service, 'Service:web1', 'service "web1" on node "ext"'], ['check', \&check, 'Check:ping', 'check "ping" on node "ext"']) {
	my ($kind, $op, $is, $named) = @$c;

	is txn($op->('cas', ModifyIndex => 0)), "200 $is", "$kind: cas 0 creates";
	is txn($op->('cas', ModifyIndex => 1)), "409; 0 failed to set $named, index is stale", "$kind: cas";
	is txn($op->('delete-cas', ModifyIndex => 1)), "409; 0 failed to delete $named, index is stale", "$kind: delete-cas";
	is txn($op->('set'), $op->('get')), "200 $is $is", "$kind: set and get";
	my ($kept) = values %{$shown->[1]};
	is txn($op->('delete-cas', ModifyIndex => $kept->{ModifyIndex})), '200', "$kind: delete-cas of what it is";
	is txn($op->('set')), "200 $is", "$kind: again";
	like txn($op->('get'), $op->('bogus')), qr/^409; 1 unknown \w+ verb "bogus"$/, "$kind: another verb";
}
is txn(check('delete'), service('delete'), node('delete')), '200', 'deleted';
table(['POST', 'txn', '[]', '405 method POST not allowed'], ['GET', 'txn', undef, '405 method GET not allowed'],
	['PUT', 'txn?dc=other', '[]', '500 No path to datacenter'], ['GET', 'catalog/node/ext', undef, '200 null']);

# 9 coordinates: of all datacenters, whichever is asked for
is ask('GET', 'coordinate/datacenters?dc=other')->{status}, 200, 'coordinate/datacenters has no dc';

# 10 prepared queries: as Go's client of today writes them
my $query = '{"ID":"","Name":"go","Session":"","Token":"","Service":{"Service":"web","Near":"","Failover":{"NearestN":0,"Datacenters":null,"Targets":null},' .
	'"IgnoreCheckIDs":null,"OnlyPassing":true,"Tags":null,"NodeMeta":null,"ServiceMeta":null,"Connect":false},"DNS":{"TTL":""},' .
	'"Template":{"Type":"","Regexp":"","RemoveEmptyTags":false}}';
my $r = ask('POST', 'query', $query);
is $r->{status}, 200, 'a query of the Go client' or diag $r->{body};
is join(' ', keys %{$json->decode($r->{body})}), 'ID', 'is answered with its ID';
my $id = $json->decode($r->{body})->{ID};
is ask('POST', 'query?dc=other', $query)->{body}, 'No path to datacenter', 'of another datacenter';
is text('PUT', "query/$id", { Name => 'go', Service => { Service => 'web', Failover => { Targets => [{ Datacenter => 'dc2' }, { Peer => 'p' }] } } }), '200 ', 'targets of a failover';
my $kept = get("query/$id")->[0];
is_deeply $kept->{Service}{Failover}{Targets}, [{ Datacenter => 'dc2' }, { Datacenter => '', Peer => 'p' }], 'are kept';
is $kept->{Service}{OnlyPassing}, $false, 'what a PUT does not name is as in a new one';
table(['PUT', 'agent/service/register', { Name => 'web', ID => 'mine' }, '200 '],
	map { ['PUT', 'catalog/register', { Node => "ext$_", Address => "10.0.0.$_", Service => { ID => "w$_", Service => 'web' } }, '200 true'] } 1 .. 5);
ok $n->wait_for(sub { @{get('catalog/service/web')} == 6 }), 'six instances';
is get('query/go/execute?near=_agent&limit=1')->{Nodes}[0]{Service}{ID}, 'mine', 'near=_agent: our own first, the limit counts behind the order';
is get("query/$id/execute?near=_agent")->{Nodes}[0]{Service}{ID}, 'mine', 'again';
$began = time;
$r = ask('GET', 'query/go/execute?index=1000000&wait=20s');
is $r->{status}, 200, 'execute takes no notice of an index';
cmp_ok time - $began, '<', 15, 'and does not wait';
is_deeply [sort keys %{get('query/go/explain')}], [qw(Backend ConsistencyLevel Index KnownLeader LastContact NotModified Query)], 'explain: the query, and about the answer';

# 11 snapshots: the archive, member by member
put_kv('snap', 'kept');
sub put_kv { my ($k, $v) = @_; is text('PUT', "kv/$k", $v), '200 true', "PUT kv/$k" }
$r = ask('GET', 'snapshot');
my $archive = $r->{body};
is $r->{headers}{'Content-Type'}, 'application/x-gzip', 'a snapshot';
my $tar = Archive::Tar->new;
open my $in, '<', \Compress::Zlib::memGunzip(my $copy = $archive) or die;
my @members = $tar->read($in);
is join(' ', map { $_->name } @members), 'meta.json state.bin SHA256SUMS', 'its members, in this order';
my %in = map { $_->name => $_->get_content } @members;
is $in{SHA256SUMS}, join('', map { Digest::SHA::sha256_hex($in{$_}) . "  $_\n" } 'meta.json', 'state.bin'), 'their sums';
my $meta = $json->decode($in{'meta.json'});
is_deeply [sort keys %$meta], [qw(Configuration ConfigurationIndex ID Index Peers Size Term Version)], 'meta.json';
is "$meta->{Version} $meta->{Index} $meta->{Size}", "1 $r->{headers}{'X-Consul-Index'} " . length $in{'state.bin'}, 'its version, index and size';
like $meta->{ID}, qr/^$meta->{Term}-$meta->{Index}-\d{13}$/, 'its ID: term, index, milliseconds';
is_deeply [map { [sort keys %$_] } @{$meta->{Configuration}{Servers}}], [[qw(Address ID Suffrage)]], 'the servers';
is $meta->{Configuration}{Servers}[0]{Address}, $self, 'which are those of the cluster';
like $in{'state.bin'}, qr/^\x81\xa9LastIndex/, 'state.bin begins with its header';
put_kv('snap', 'changed');
my $before = get('kv/snap')->[0]{ModifyIndex};
table(['PUT', 'snapshot', 'no archive', '500 failed to decompress snapshot: gzip: invalid header'], ['PUT', 'snapshot', '', '500 failed to decompress snapshot: EOF'],
	['PUT', 'snapshot', substr($archive, 0, -20), qr/^500 failed to read snapshot file: /], ['GET', 'kv/snap?raw', undef, '200 changed', 'nothing is changed by these'],
	['PUT', 'snapshot', $archive, '200 '], ['GET', 'kv/snap?raw', undef, '200 kept'], ['GET', 'snapshot?dc=other', undef, '500 No path to datacenter']);
put_kv('behind', 'x');
cmp_ok get('kv/behind')->[0]{ModifyIndex}, '>', $before + 1, 'indexes go on behind both';

{
	local $/;
	open my $f, '<:raw', "$ENV{SRCDIR}/t/data/snapshots/a-kv.snap" or die "a-kv.snap: $!";
	table(['PUT', 'snapshot', scalar <$f>, '200 ', 'one that a Consul of another cluster saved'], ['GET', 'status/peers', undef, qq(200 ["$self"]), 'its servers are not ours'],
		['GET', 'kv/behind', undef, '404 ', 'ours is gone']);
}
ok @{get('kv/?keys')} > 0, 'its keys are there';
ok $n->wait_for(sub { @{get("health/node/$n->{name}")} }), 'the leader puts itself into the catalog again';

# 12 the operator's, on one server
my $server = get('operator/raft/configuration')->{Servers}[0];
is_deeply [sort grep { $_ ne 'LastIndex' } keys %$server], [qw(Address ID Leader Node ProtocolVersion Voter)], 'a server of raft/configuration';
is "$server->{Address} $server->{Node} $server->{ProtocolVersion}", "$self $n->{name} 3", 'which is this one';
my $state = get('operator/autopilot/state')->{Servers}{$server->{ID}};
is_deeply [grep { !exists $state->{$_} } qw(ID Name Address NodeStatus Version LastContact LastTerm LastIndex Healthy StableSince Status Meta NodeType)], [], 'a server of autopilot/state';
is "$state->{Status} $state->{NodeStatus} $state->{NodeType}", 'leader alive voter', 'its state';
table(['POST', 'operator/raft/configuration', '', '405 method POST not allowed'], ['GET', 'operator/raft/transfer-leader', undef, '405 method GET not allowed'],
	['PUT', 'operator/autopilot/configuration', '{"CleanupDeadServers":true,"LastContactThreshold":250000000,"MaxTrailingLogs":250,"ServerStabilizationTime":"10s"}', '200 true', 'nanoseconds'],
	['GET', 'operator/autopilot/configuration', undef, qr/"LastContactThreshold":"250ms"/, 'are told as a duration'],
	['POST', 'operator/autopilot/configuration', '{}', '405 method POST not allowed'], ['GET', 'operator/autopilot/health?dc=other', undef, '500 No path to datacenter']);

# 13 ACLs are off: every endpoint of theirs says so
my @acl = (routes('acl/'), routes('internal/acl/'));
cmp_ok scalar @acl, '>', 25, 'the endpoints of ACLs';
for my $e (@acl) {
	my ($path, @methods) = @$e;

	is text($_, $path =~ s{/$}{/x}r, $_ eq 'GET' ? undef : '{}'), '401 ACL support disabled', "$_ $path without ACLs" for @methods;
}
is ask('PUT', 'acl/token/x/clone', '{}')->{status}, 401, 'a copy, too';

# intentions: there are none to match, nor to check
table(map { ['GET', "connect/intentions/$_", undef, '404 Intention not found', 'connect/intentions/match and the like'] } 'match?by=source&name=web', 'check?source=a&destination=b');
# 14 there is nothing to profile in Go's way
is(Raw->new($n)->ask('GET', '/debug/pprof/')->{status}, 404, 'no debug/pprof');
is(Raw->new($n)->ask('GET', "/debug/pprof/$_")->{status}, 404, "no debug/pprof/$_") for qw(heap profile cmdline symbol trace);

# ---- with ACLs, denied by default
my $on = $n = Acl::node(name => 'acl1');
$token = $Acl::ROOT;
table(['PUT', 'catalog/register', { Node => 'hidden-node', Address => '10.0.0.1', Service => { ID => 'hidden-id', Service => 'hidden-svc' },
		Checks => [{ CheckID => 'hidden-check', Name => 'hidden-check', Status => 'passing', ServiceID => 'hidden-id' }] }, '200 true'],
	['PUT', 'kv/hidden-key', 'hidden-value', '200 true'], ['PUT', 'agent/service/register', { Name => 'hidden-own', Check => { TTL => '1h', CheckID => 'hidden-ttl' } }, '200 '],
	['PUT', 'coordinate/update', { Node => 'hidden-node', Coord => { Vec => [(0) x 8], Error => 1, Height => 0.001 } }, '200 '],
	['PUT', 'event/fire/hidden-event', 'x', qr/^200 /]);
my $session = $json->decode(ask('PUT', 'session/create', { Node => 'hidden-node', Name => 'hidden-session', NodeChecks => [] })->{body})->{ID};
my $q = $json->decode(ask('POST', 'query', { Name => 'hidden-query', Service => { Service => 'hidden-svc' } })->{body})->{ID};
ok $n->wait_for(sub { ref get('coordinate/node/hidden-node') && get('event/list') =~ /ARRAY/ && @{get('event/list')} && @{get('catalog/service/hidden-own')} }), 'there is something of everything';
is ask('GET', 'kv/hidden-key')->{headers}{'X-Consul-Default-Acl-Policy'}, 'deny', 'the default policy is told';

# nobody: lists are empty, what has a name is refused
undef $token;
my $no = qr/^403 Permission denied: (?:Missing \w+:write on [\w-]+$|(?:anonymous token|token with AccessorID '00000000-0000-0000-0000-000000000002') lacks permission '[a-z]+:[a-z]+')/;
my @lists = map { ['GET', $_->[0], undef, "200 $_->[1]"] } ['catalog/nodes', '[]'], ['catalog/services', '{}'], ['catalog/service/hidden-svc', '[]'],
	['catalog/node/hidden-node', 'null'], ['catalog/node-services/hidden-node', '{"Node":null,"Services":null}'], ['health/node/hidden-node', '[]'],
	['health/checks/hidden-svc', '[]'], ['health/state/any', '[]'], ['health/service/hidden-svc', '[]'], ['session/list', '[]'], ["session/info/$session", '[]'],
	['session/node/hidden-node', '[]'], ['coordinate/nodes', '[]'], ['query', '[]'], ['event/list', '[]'], ['agent/members', '[]'], ['agent/services', '{}'],
	['agent/checks', '{}'], ['internal/ui/nodes', '[]'], ['internal/ui/services', '[]'], ['catalog/datacenters', '["dc1"]'], ['kv/?keys', '[]'],
	['connect/intentions', '[]'], ['status/leader', "\"$n->{ip}:$n->{ports}{server}\""], ['status/peers', "[\"$n->{ip}:$n->{ports}{server}\"]"];
table(@lists, ['GET', 'kv/?recurse', undef, '404 '], ['GET', 'kv/hidden?recurse', undef, '404 '], ['GET', 'kv/hidden?keys', undef, '404 '],
	['GET', 'internal/ui/node/hidden-node', undef, '404 '],
	map({ ['GET', $_, undef, $no] } 'kv/hidden-key', 'agent/self', 'agent/host', 'agent/metrics', 'agent/service/hidden-own', 'agent/health/service/id/hidden-own',
		'agent/health/service/name/hidden-own', "query/$q", 'query/hidden-query/explain', 'coordinate/node/hidden-node', 'snapshot', 'operator/raft/configuration',
		'operator/autopilot/configuration', 'operator/autopilot/health', 'operator/autopilot/state', 'operator/keyring', 'operator/usage', 'acl/tokens', 'acl/policies', 'acl/roles',
		'acl/auth-methods', 'acl/binding-rules', 'acl/policy/name/global-management', 'acl/token/00000000-0000-0000-0000-000000000002'));
is_deeply get('query/hidden-query/execute')->{Nodes}, [], 'a query finds what may be seen';
my @writes = (['PUT', 'kv/hidden-key', 'x'], ['DELETE', 'kv/hidden-key', ''], ['DELETE', 'kv/?recurse', ''], ['PUT', 'session/create', '{}'], ['PUT', "session/destroy/$session", ''],
	['PUT', "session/renew/$session", ''], ['PUT', 'catalog/register', { Node => 'x', Address => '1.1.1.1' }], ['PUT', 'catalog/deregister', { Node => 'hidden-node' }],
	['PUT', 'event/fire/x', ''], ['PUT', 'coordinate/update', { Node => 'hidden-node', Coord => { Vec => [(0) x 8] } }], ['PUT', 'agent/service/register', { Name => 'x' }],
	['PUT', 'agent/service/deregister/hidden-own', ''], ['PUT', 'agent/service/maintenance/hidden-own?enable=true', ''], ['PUT', 'agent/maintenance?enable=true', ''],
	['PUT', 'agent/check/register', { Name => 'x', TTL => '1m' }], ['PUT', 'agent/check/deregister/hidden-ttl', ''], ['PUT', 'agent/check/pass/hidden-ttl', ''],
	['PUT', 'agent/check/update/hidden-ttl', { Status => 'passing' }], ['PUT', 'agent/join/127.0.0.1', ''], ['PUT', 'agent/force-leave/x', ''], ['PUT', 'agent/leave', ''],
	['PUT', 'agent/reload', ''], ['PUT', 'agent/token/default', { Token => 'x' }], ['POST', 'query', { Name => 'x', Service => { Service => 'x' } }], ['DELETE', "query/$q", ''],
	['PUT', 'snapshot', 'x'], ['DELETE', 'operator/raft/peer?id=x', ''], ['POST', 'operator/raft/transfer-leader', ''], ['PUT', 'operator/autopilot/configuration', '{}'],
	['POST', 'operator/keyring', { Key => 'pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=' }], ['PUT', 'acl/token', '{}'], ['PUT', 'acl/policy', { Name => 'x' }],
	['PUT', 'acl/role', { Name => 'x' }], ['PUT', 'acl/auth-method', { Name => 'x', Type => 'jwt' }], ['PUT', 'acl/binding-rule', '{}'],
	['PUT', 'acl/token/00000000-0000-0000-0000-000000000002', '{}']);
table(map { [@$_, $no] } @writes);
like text('PUT', 'txn', [{ KV => { Verb => 'set', Key => 'hidden-key', Value => 'eA==' } }]), qr/^409 \{"Results":null,"Errors":\[\{"OpIndex":0,"What":"Permission denied/,
	'a transaction that may not: 409';
is text('PUT', 'txn', [{ KV => { Verb => 'get', Key => 'hidden-key' } }]) =~ s/,"Index".*//r, '200 {"Results":[],"Errors":null', 'one that reads shows nothing';
# whatever is asked: nothing that is hidden is told
my @told;
for my $e (grep { $_->[0] !~ m{^(?:stream|agent/monitor|agent/leave)$} } routes('')) {
	my ($path, @methods) = @$e;

	next if !grep { $_ eq 'GET' } @methods;
	for my $name ($path =~ m{/$} ? ('hidden-node', 'hidden-svc', 'hidden-key', 'hidden-own', 'any', $session, $q) : ('')) {
		my $x = ask('GET', $path . $name);
		my $body = $x->{body} =~ s/\b\Q$name\E\b//gr;

		push @told, "$path$name: $body" if $x->{status} < 300 && $body =~ /hidden-/;
	}
}
is_deeply \@told, [], 'nobody is told of what he may not see, by no endpoint';

# a token that is none
$token = 'nonsense';
table(map { ['GET', $_, undef, '403 ACL not found', 'an unknown token'] } 'catalog/nodes', 'catalog/services', 'health/service/hidden-svc', 'session/list', 'kv/hidden-key', 'kv/?recurse',
	'query', 'event/list', 'agent/members', 'agent/services', 'agent/self', 'coordinate/nodes', 'internal/ui/nodes', 'operator/usage', 'acl/tokens', 'acl/token/self', 'snapshot');
table(map { ['PUT', $_, '{}', '403 ACL not found', 'an unknown token'] } 'kv/x', 'session/create', 'acl/policy');
table(['GET', 'status/leader', undef, $lists[-2][3]], ['GET', 'catalog/datacenters', undef, '200 ["dc1"]']);

# identities: what a service and a node may do, and lists of tokens by them
$token = $Acl::ROOT;
my $of_service = $json->decode(ask('PUT', 'acl/token', { Description => 'web', ServiceIdentities => [{ ServiceName => 'web', Datacenters => ['dc1'] }] })->{body});
my $elsewhere = $json->decode(ask('PUT', 'acl/token', { Description => 'far', ServiceIdentities => [{ ServiceName => 'web', Datacenters => ['dc2'] }] })->{body});
my $of_node = $json->decode(ask('PUT', 'acl/token', { Description => 'node', NodeIdentities => [{ NodeName => 'n9', Datacenter => 'dc1' }] })->{body});
is_deeply $of_service->{ServiceIdentities}, [{ ServiceName => 'web', Datacenters => ['dc1'] }], 'a service identity is shown';
is_deeply $of_node->{NodeIdentities}, [{ NodeName => 'n9', Datacenter => 'dc1' }], 'and one of a node';
sub may
{
	my ($secret, $resource, $segment, $access) = @_;

	local $token = $secret;
	my $x = ask('POST', 'internal/acl/authorize', [{ Resource => $resource, Segment => $segment, Access => $access }]);
	return $json->decode($x->{body})->[0]{Allow} ? 1 : 0;
}
is join('', map { may($of_service->{SecretID}, @$_) } ['service', 'web', 'write'], ['service', 'web-sidecar-proxy', 'write'], ['service', 'other', 'read'], ['node', 'any', 'read'],
	['service', 'other', 'write'], ['node', 'any', 'write'], ['key', 'a', 'read']), '1111000', 'what a service may do';
is join('', map { may($of_node->{SecretID}, @$_) } ['node', 'n9', 'write'], ['service', 'any', 'read'], ['node', 'n8', 'read'], ['service', 'any', 'write']), '1100', 'and a node';
is may($elsewhere->{SecretID}, 'service', 'web', 'write'), 0, 'not in another datacenter';
sub described { return join ' ', sort map { $_->{Description} } @{get($_[0])} }
is described('acl/tokens?servicename=web'), 'far web', 'tokens of a service';
is described('acl/tokens?servicename=none'), '', 'of another';
is described('acl/tokens?authmethod=none'), '', 'of an auth method';
table(['GET', 'acl/roles?policy=11111111-1111-4111-8111-111111111111', undef, '200 []'], ['GET', 'acl/tokens?role=11111111-1111-4111-8111-111111111111', undef, '200 []'],
	['GET', 'acl/tokens?index=x', undef, '400 Invalid index'], ['GET', 'acl/policies?dc=other', undef, '500 No path to datacenter'],
	['POST', 'acl/token', '{}', '405 method POST not allowed'], ['PUT', 'acl/tokens', '{}', '405 method PUT not allowed'], ['GET', 'acl/login', undef, '405 method GET not allowed']);
my $absent = '11111111-1111-4111-8111-111111111111';
table(map({ ['GET', "acl/$_->[0]/", undef, "400 Bad request: Missing $_->[1]"] } ['token', 'token ID'], ['policy', 'policy ID'], ['policy/name', 'policy Name'], ['role', 'role ID'],
	['role/name', 'role Name'], ['auth-method', 'auth method name'], ['binding-rule', 'binding rule ID'], ['rules/translate', 'token ID']),
	map({ ['GET', "acl/$_/$absent", undef, '403 ACL not found'] } 'token', 'policy'), map({ ['GET', "acl/$_/$absent", undef, '404 '] } 'role', 'auth-method', 'binding-rule'),
	map({ ['DELETE', "acl/$_/$absent", undef, '200 true'] } 'token', 'policy', 'role', 'auth-method', 'binding-rule'));
for my $path (map { $_->[0] } grep { $_->[0] =~ m{^acl/(?:tokens|policies|roles|auth-methods|binding-rules)$} } @acl) {
	my $h = ask('GET', $path)->{headers};

	is join(' ', map { $h->{"X-Consul-$_"} // 'none' } qw(Knownleader Lastcontact Query-Backend Default-Acl-Policy)), 'true 0 blocking-query deny', "headers of $path";
}

# a token that is given none of its own: the agent's default
is text('PUT', 'agent/token/default', { Token => $of_service->{SecretID} }), '200 ', 'a default token';
undef $token;
ok $n->wait_for(sub { ref get('catalog/service/hidden-svc') && @{get('catalog/service/hidden-svc')} }), 'who brings none asks with it';
like text('PUT', 'kv/x', 'x'), qr/^403 Permission denied: token with AccessorID '$of_service->{AccessorID}' lacks permission 'key:write' on "x"$/, 'and is refused under its name';

for ($off, $on) {
	$_->stop;
	unlike $_->log_text . $_->err_text, qr/Sanitizer|runtime error|work still open/, 'a clean end';
}
done_testing;
