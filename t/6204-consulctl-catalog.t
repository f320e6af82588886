#!/usr/bin/perl
# The catalog and services commands.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Ctl;
use FakeAgent;
use File::Temp ();
use JSON::PP ();
use Test::More;

my $nodes = '[{"ID":"11111111-2222-3333-4444-555555555555","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1",' .
    '"TaggedAddresses":{"wan":"1.2.3.4","lan":"10.0.0.1"},"Meta":{"rack":"r1","env":"test"}},' .
    '{"ID":"","Node":"outside","Address":"10.0.0.200","Datacenter":"dc1","TaggedAddresses":null,"Meta":null}]';
my $a = FakeAgent->new(
	'GET /v1/catalog/datacenters' => '["dc2","dc1"]',
	'GET /v1/catalog/nodes' => sub { $_[0]{query} =~ /filter=none|node-meta/ ? '[]' : $nodes },
	'GET /v1/catalog/service/web' => '[{"ID":"11111111-2222-3333-4444-555555555555","Node":"n1","Address":"10.0.0.1",' .
	    '"Datacenter":"dc1","TaggedAddresses":{"lan":"10.0.0.1"},"NodeMeta":{"rack":"r1"},"ServiceName":"web"}]',
	'GET /v1/catalog/services' => '{"web":["v2","v1"],"consul":[],"redis":["a"]}',
	'GET /v1/catalog/node/n1' => '{"Node":{"Node":"n1"},"Services":{"w1":{"ID":"w1","Service":"web","Tags":["b"]},' .
	    '"w2":{"ID":"w2","Service":"web","Tags":["a"]},"r":{"ID":"r","Service":"redis","Tags":null}}}',
	'GET /v1/catalog/node/none' => 'null',
	'PUT /v1/agent/service/register' => sub { $_[0]{body} =~ /"bad"/ ? [400, 'Missing service name'] : '' },
	'PUT /v1/agent/service/deregister/web1' => '',
	'PUT /v1/agent/service/deregister/redis' => '',
);
my $o = { addr => $a->addr };

sub is_run
{
	my ($name, $args, $code, $out, $err) = @_;
	my @got = ctl($o, @$args);

	is_deeply(\@got, [$code, $out, $err], $name) or diag explain \@got;
}

# catalog
is_run('datacenters', [qw(catalog datacenters)], 0, "dc2\ndc1\n", '');
is_run('nodes', [qw(catalog nodes)], 0, <<'EOT', '');
Node     ID        Address     DC
n1       11111111  10.0.0.1    dc1
outside            10.0.0.200  dc1
EOT
is_run('nodes -detailed', [qw(catalog nodes -detailed)], 0, <<'EOT', '');
Node     ID                                    Address     DC   TaggedAddresses            Meta
n1       11111111-2222-3333-4444-555555555555  10.0.0.1    dc1  lan=10.0.0.1, wan=1.2.3.4  env=test, rack=r1
outside                                        10.0.0.200  dc1                             
EOT
is_run('nodes of a service', [qw(catalog nodes -service=web -detailed)], 0, <<'EOT', '');
Node  ID                                    Address   DC   TaggedAddresses  Meta
n1    11111111-2222-3333-4444-555555555555  10.0.0.1  dc1  lan=10.0.0.1     rack=r1
EOT
is_run('no nodes', [qw(catalog nodes -filter=none -near=_agent)], 0, '', "No nodes match the given query - try expanding your search.\n");
is(($a->requests)[-1]{query}, 'filter=none&near=_agent', 'filter and near are sent');
ctl($o, qw(catalog nodes -node-meta=a=b -node-meta c=d));
is(($a->requests)[-1]{query}, 'node-meta=a%3Ab&node-meta=c%3Ad', 'and metadata, twice');
like((ctl($o, qw(catalog nodes -node-meta=a)))[2], qr/^invalid value "a" for flag -node-meta: Missing "=" value in argument: a\n/,
    'metadata without a value');
is_run('too many arguments', [qw(catalog nodes x)], 1, '', "Too many arguments (expected 0, got 1)\n");
is_run('services', [qw(catalog services)], 0, "consul\nredis\nweb\n", '');
is_run('services -tags', [qw(catalog services -tags)], 0, "consul      \nredis       a\nweb         v1,v2\n", '');
is_run('services of a node', [qw(catalog services -node=n1 -tags)], 0, "redis      \nweb        a,b\n", '');
is_run('services of an unknown node', [qw(catalog services -node=none)], 0, '',
    "No services match the given query - try expanding your search.\n");

# services
sub registered { return JSON::PP->new->decode(($a->requests)[-1]{body}); }

is_run('register by flags', [qw(services register -name=web -id=web1 -address=10.0.0.5 -port=80 -tag=a -tag=b -meta=k=v -meta=k2=v=2
    -tagged-address=lan=10.0.0.5:80)], 0, "Registered service: web\n", '');
is_deeply(registered(), { Name => 'web', ID => 'web1', Address => '10.0.0.5', Port => 80, Tags => ['a', 'b'],
    Meta => { k => 'v', k2 => 'v=2' }, TaggedAddresses => { lan => { Address => '10.0.0.5', Port => 80 } } }, 'as described');
is_run('register what is refused', [qw(services register -name=bad)], 1, '',
    qq(Error registering service "bad": Unexpected response code: 400 (Missing service name)\n));
is_run('register nothing', [qw(services register)], 1, '', "Service registration requires at least one argument or flags.\n");
is_run('register both', [qw(services register -name=x f)], 1, '', "Service registration requires arguments or -id, not both.\n");
my $dir = File::Temp->newdir;
spew("$dir/web.json", '{"service": {"name": "web", "tags": ["rails"], "port": 80, "check": {"http": "http://x/", "interval": "10s"}}}');
spew("$dir/two.hcl", qq(service {\n  id = "web1"\n  name = "web"\n}\nservice {\n  name = "redis"\n  port = 6379\n}\n));
spew("$dir/bad.json", '{"service": {"nome": "web"}}');
is_run('register a file', ['services', 'register', "$dir/web.json"], 0, "Registered service: web\n", '');
my $got = registered();
is_deeply([@$got{qw(Name Port)}, $got->{Tags}], ['web', 80, ['rails']], 'as it defines');
is($got->{Check} ? $got->{Check}{HTTP} : $got->{Checks}[0]{HTTP}, 'http://x/', 'with its check');
is_run('register what HCL defines', ['services', 'register', "$dir/two.hcl"], 0, "Registered service: web\nRegistered service: redis\n", '');
my @got = ctl($o, 'services', 'register', "$dir/bad.json");
is($got[0], 1, 'a file that is refused');
like($got[2], qr/^Error: .*nome/s, 'is told');
is_run('deregister by id', [qw(services deregister -id=web1)], 0, "Deregistered service: web1\n", '');
is_run('deregister what files define', ['services', 'deregister', "$dir/two.hcl"], 0, "Deregistered service: web1\nDeregistered service: redis\n", '');
is_run('deregister nothing', [qw(services deregister)], 1, '', "Service deregistration requires at least one argument or -id.\n");
is_run('deregister both', [qw(services deregister -id=x f)], 1, '', "Service deregistration requires arguments or -id, not both.\n");

done_testing;
