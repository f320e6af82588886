#!/usr/bin/perl
# Services of config files and of the API: registered, changed, removed, and in step with the catalog.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Test::More;
use Time::HiRes qw(time);

my $n = Node->new(dev => 1, config_dir => {
	'web.json' => { service => { name => 'web', tags => ['rails'], port => 80, address => '10.1.2.3', meta => { b => '1', a => '2' }, check => { id => 'web-ttl', ttl => '1h' } } },
});

sub put { return $n->http('PUT', @_); }
sub catalog { return $n->get_json("/v1/catalog/service/$_[0]"); }
sub wait_catalog { my ($name, $code) = @_; return $n->wait_for(sub { local $_ = catalog($name); $code->() }); }

ok($n->wait_log(qr/\[INFO\]  agent: Synced service: service=web$/m), 'a service of a file is synced, and the log says so');
my $web = catalog('web');
is($web->[0]{ServicePort}, 80, 'the catalog has it');
is_deeply($web->[0]{ServiceTags}, ['rails'], 'with its tags');
my $node = $n->get_json('/v1/catalog/nodes')->[0];
is_deeply($node->{TaggedAddresses}, { map { $_ => $n->{ip} } qw(lan lan_ipv4 wan wan_ipv4) }, 'the node has its addresses');
is_deeply($node->{Meta}, { 'consul-network-segment' => '' }, 'and its metadata');

# What the agent shows.
my $mine = $n->get_json('/v1/agent/services')->{web};
is_deeply($mine, { ID => 'web', Service => 'web', Tags => ['rails'], Meta => { a => '2', b => '1' }, Port => 80, Address => '10.1.2.3',
	TaggedAddresses => { map { $_ => { Address => '10.1.2.3', Port => 80 } } qw(lan_ipv4 wan_ipv4) },
	Weights => { Passing => 1, Warning => 1 }, EnableTagOverride => JSON::PP::false, Datacenter => 'dc1' }, 'agent/services');
my $check = $n->get_json('/v1/agent/checks')->{'web-ttl'};
is($check->{Status}, 'critical', 'a new check is critical');
is($check->{Name}, q(Service 'web' check), 'and has a default name');

# TTL, and what a reload keeps of it.
is((put('/v1/agent/check/pass/web-ttl?note=well'))[0], 200, 'the application says it passes');
is($n->get_json('/v1/health/checks/web')->[0]{Status}, 'passing', 'and the catalog knows at once');
is($n->get_json('/v1/health/checks/web')->[0]{Output}, 'well', 'with the note');
$n->config_dir_file('web.json', { service => { name => 'web', tags => ['rails', 'v2'], port => 81, address => '10.1.2.3', meta => { b => '1', a => '2' }, check => { id => 'web-ttl', ttl => '1h' } } });
$n->config_dir_file('db.hcl', qq(services {\n  name = "db"\n  id = "db1"\n  port = 5432\n}\n));
$n->signal('HUP');
ok(wait_catalog('web', sub { $_->[0]{ServicePort} == 81 }), 'a reload changes the service');
is_deeply(catalog('web')->[0]{ServiceTags}, ['rails', 'v2'], 'its tags');
ok(wait_catalog('db', sub { @$_ == 1 }), 'and adds another');
is($n->get_json('/v1/health/checks/web')->[0]{Status}, 'passing', 'the unchanged check keeps its status');
$n->config_dir_file('db.hcl', undef);
$n->signal('HUP');
ok(wait_catalog('db', sub { @$_ == 0 }), 'a definition that is gone is deregistered');
my $before = () = $n->log_text =~ /Synced service: service=web/g;

# A refused reload changes nothing.
$n->config_dir_file('bad.json', { service => { name => 'bad', check => { args => ['true'], interval => '1s' } } });
$n->config_dir_file('new.json', { service => { name => 'new' } });
$n->signal('HUP');
ok($n->wait_log(qr/Failed to register service \\?"bad\\?": Scripts are disabled on this agent; to enable/), 'a refused definition is told');
is_deeply(catalog('new'), [], 'and no part of that reload is taken');
$n->config_dir_file('bad.json', undef);
$n->signal('HUP');
ok(wait_catalog('new', sub { @$_ == 1 }), 'until it is mended');
my $after = () = $n->log_text =~ /Synced service: service=web/g;
is($after, $before, 'what did not change was not written again');

# ---- the API
my @r = put('/v1/agent/service/register', { Name => 'api', ID => 'api1', Port => 1, Tags => ['a'], Meta => { k => 'v' },
	Checks => [{ TTL => '1h' }, { TTL => '1h', Status => 'passing', Name => 'second' }] });
is("$r[0]$r[2]", '200', 'register');
is(catalog('api')->[0]{ServiceID}, 'api1', 'is in the catalog when it is answered');
is_deeply([map { "$_->{CheckID} $_->{Status}" } sort { $a->{CheckID} cmp $b->{CheckID} } @{$n->get_json('/v1/health/checks/api')}],
	['service:api1:1 critical', 'service:api1:2 passing'], 'with its checks');
put('/v1/agent/check/pass/service:api1:1');
put('/v1/agent/service/register', { Name => 'api', ID => 'api1', Port => 2, Check => { CheckID => 'service:api1:1', TTL => '1h' } });
is_deeply([map { "$_->{CheckID} $_->{Status}" } sort { $a->{CheckID} cmp $b->{CheckID} } @{$n->get_json('/v1/health/checks/api')}],
	['service:api1:1 passing', 'service:api1:2 passing'], 'registered again, the status is kept and other checks stay');
put('/v1/agent/service/register?replace-existing-checks', { Name => 'api', ID => 'api1', Port => 2, Check => { CheckID => 'service:api1:1', TTL => '1h' } });
is_deeply([map { $_->{CheckID} } @{$n->get_json('/v1/health/checks/api')}], ['service:api1:1'], 'replace-existing-checks drops the others');

for my $case (
	['/v1/agent/service/register', {}, 400, 'Missing service name'],
	['/v1/agent/service/register', { Name => 'x', Address => '0.0.0.0' }, 400, 'Invalid service address'],
	['/v1/agent/service/register', { Name => 'x', Check => { HTTP => 'http://x' } }, 400,
		'Invalid check: Interval must be > 0 for Script, HTTP, H2PING, or TCP checks'],
	['/v1/agent/service/register', { Name => 'x', Check => { TTL => '1s', Status => 'zz' } }, 400,
		"Status for checks must 'passing', 'warning', 'critical'"],
	['/v1/agent/service/register', { Name => 'x', Check => { Args => ['true'], Interval => '1s' } }, 500,
		"Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"],
	['/v1/agent/service/register', { Name => 'x', Check => { OSService => 'x' } }, 400,
		'Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks'],
	['/v1/agent/check/register', { TTL => '1s' }, 400, 'Missing check name'],
	['/v1/agent/check/register', { Name => 'x', TTL => '1s', Status => 'zz' }, 400, 'Bad check status'],
	['/v1/agent/check/register', { Name => 'x', TTL => '1s', ServiceID => 'no' }, 500, 'ServiceID "x" does not exist'],
	['/v1/agent/check/pass/nope', undef, 500, 'CheckID "nope" does not have associated TTL'],
	['/v1/agent/check/update/service:api1:1', { Status => 'foo' }, 400, "Invalid check status: 'foo'"],
	['/v1/agent/service/maintenance/nope?enable=true', undef, 404, 'No service registered with ID "nope"'],
) {
	my ($path, $body, $code, $text) = @$case;
	@r = put($path, $body);
	is("$r[0] $r[2]", "$code $text", "$path: $text");
}
is((put('/v1/agent/service/deregister/nope'))[0], 200, 'deregistering an unknown service is no error');
is((put('/v1/agent/check/deregister/nope'))[0], 200, 'nor an unknown check');

is_deeply([keys %{$n->get_json('/v1/agent/services?filter=Port+%3D%3D+2')}], ['api1'], 'services are filtered');
is_deeply([keys %{$n->get_json('/v1/agent/checks?filter=ServiceName+%3D%3D+web')}], ['web-ttl'], 'checks too');
@r = $n->http('GET', '/v1/agent/checks?filter=Nope+%3D%3D+web');
is("$r[0] $r[2]", '500 Failed to create boolean expression evaluator: Selector "Nope" is not valid', 'an unknown selector');

# Health as the agent sees it.
@r = $n->http('GET', '/v1/agent/health/service/id/api1');
is($r[0], 200, 'passing is 200');
put('/v1/agent/check/warn/service:api1:1');
@r = $n->http('GET', '/v1/agent/health/service/id/api1?format=text');
is("$r[0] $r[2]", '429 warning', 'warning is 429');
put('/v1/agent/check/fail/service:api1:1?note=down');
@r = $n->http('GET', '/v1/agent/health/service/name/api');
is($r[0], 503, 'critical is 503');
is(JSON::PP::decode_json($r[2])->[0]{AggregatedStatus}, 'critical', 'and says so');
put('/v1/agent/check/update/service:api1:1', { Status => 'passing', Output => 'again' });

# Maintenance.
is((put('/v1/agent/service/maintenance/api1?enable=true&reason=broken'))[0], 200, 'maintenance of a service');
my ($m) = grep { $_->{CheckID} eq '_service_maintenance:api1' } @{$n->get_json('/v1/health/checks/api')};
is("$m->{Status} $m->{Notes} $m->{Name} $m->{Type}", 'critical broken Service Maintenance Mode maintenance', 'is a critical check');
@r = $n->http('GET', '/v1/agent/health/service/id/api1');
is("$r[0] " . JSON::PP::decode_json($r[2])->{AggregatedStatus}, '503 maintenance', 'and outranks the others');
put('/v1/agent/service/maintenance/api1?enable=false');
is((grep { $_->{CheckID} =~ /maintenance/ } @{$n->get_json('/v1/health/checks/api')}), 0, 'until it is over');
put('/v1/agent/maintenance?enable=true');
($m) = grep { $_->{CheckID} eq '_node_maintenance' } @{$n->get_json("/v1/health/node/$n->{name}")};
like($m->{Notes}, qr/^Maintenance mode is enabled for this node, but no reason was provided/, 'of the node, with the default reason');
is_deeply($n->get_json('/v1/health/service/api?passing'), [], 'takes its services out');
put('/v1/agent/maintenance?enable=false');
is(scalar @{$n->get_json('/v1/health/service/api?passing')}, 1, 'and back in');

# Waiting for a service to change by its hash.
my ($status, $headers, $body) = $n->http('GET', '/v1/agent/service/api1');
my $hash = $headers->{'x-consul-contenthash'};
like($hash, qr/^[0-9a-f]{16}$/, 'one service has a content hash');
is(JSON::PP::decode_json($body)->{ContentHash}, $hash, 'in its body as well');
my $pid = fork;
if ($pid == 0) {
	select undef, undef, undef, 0.4;
	put('/v1/agent/service/register', { Name => 'api', ID => 'api1', Port => 3 });
	POSIX::_exit(0);
}
my $start = time;
($status, $headers, $body) = $n->http('GET', "/v1/agent/service/api1?hash=$hash&wait=20s");
my $took = time - $start;
waitpid $pid, 0;
is(JSON::PP::decode_json($body)->{Port}, 3, 'a question with the hash is answered by the change');
ok($took > 0.2 && $took < 15, "and not before ($took s)");
isnt($headers->{'x-consul-contenthash'}, $hash, 'the hash has changed');
@r = $n->http('GET', '/v1/agent/service/nope');
is("$r[0] $r[2]", '404 unknown service ID: nope', 'an unknown one');

# Anti-entropy: what others put under this node's name goes.
put('/v1/catalog/register', { Node => $n->{name}, Address => $n->{ip}, Service => { ID => 'ghost', Service => 'ghost' },
	Check => { CheckID => 'ghost-check', Name => 'g', Status => 'passing', ServiceID => 'ghost' } });
put('/v1/catalog/deregister', { Node => $n->{name}, ServiceID => 'api1' });
is(scalar @{catalog('ghost')}, 1, 'a ghost is in the catalog');
my %pids = $n->pids;
kill 'KILL', $pids{checkd};
ok(wait_catalog('ghost', sub { @$_ == 0 }), 'and out after the next comparison');
like($n->log_text, qr/Deregistered service: service=ghost/, 'which the log tells');
is(scalar @{$n->get_json('/v1/catalog/service/consul')}, 1, q(the leader's own service is left alone));
is(scalar(grep { $_->{CheckID} eq 'serfHealth' } @{$n->get_json("/v1/health/node/$n->{name}")}), 1, 'and its check');
is(scalar @{catalog('web')}, 1, 'services of files are there after a crash of checkd');
$after = () = $n->log_text =~ /Synced service: service=web/g;
is($after, $before, 'and were not written again');

is($n->stop, 1, 'the node ends (1: without leaving)');
unlike($n->log_text . $n->err_text, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'and nothing for the sanitizers');
done_testing;
