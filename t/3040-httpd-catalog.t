#!/usr/bin/perl
# /v1/catalog and /v1/health, row by row.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new;
my $json = JSON::PP->new->allow_nonref;
my $r;

sub ask { return Raw->new($n)->ask(@_) }
sub body { return ask('GET', "/v1/$_[0]")->{body} }
sub register { my $x = ask('PUT', '/v1/catalog/register', {}, ref $_[0] ? $json->encode($_[0]) : $_[0]); return "$x->{status} $x->{body}" }
sub deregister { my $x = ask('PUT', '/v1/catalog/deregister', {}, $_[0]); return "$x->{status} $x->{body}" }

$n->wait_for(sub { @{$n->get_json('/v1/catalog/service/consul')} });

# ---- our own node
my $self = $n->get_json('/v1/catalog/nodes')->[0];
is $self->{Node}, $n->{name}, 'our node is there';
ok $n->wait_for(sub { my $t = $n->get_json('/v1/catalog/nodes')->[0]{TaggedAddresses}; $t && $t->{lan} }), 'with tagged addresses';
is body('catalog/datacenters'), '["dc1"]', 'datacenters';
ok !exists ask('GET', '/v1/catalog/datacenters')->{headers}{'X-Consul-Index'}, 'have no index';
is body('catalog/services'), '{"consul":[]}', 'services';
is $n->get_json("/v1/health/node/$n->{name}")->[0]{Output}, 'Agent alive and reachable', 'serfHealth';

# ---- register
is register({ Node => 'ext', Address => '10.0.0.1', NodeMeta => { zone => 'a' },
	Service => { ID => 'web1', Service => 'web', Tags => ['v1', 'Blue'], Port => 80, Meta => { k => 'v' } },
	Check => { Name => 'up', CheckID => 'c1', Status => 'passing', ServiceID => 'web1' } }), '200 true', 'register';
is register({ Node => 'ext2', Address => '10.0.0.2', Service => { Service => 'web', Port => 81, Tags => ['v2'] },
	Checks => [{ Name => 'up', Status => 'warning', ServiceID => 'web' }] }), '200 true', 'one without ids';
is register('{"node":"low","ADDRESS":"10.0.0.3","skip_node_update":false}'), '200 true', 'names match whatever their case';
is register('{"Node":"x","Address":"1.2.3.4","Bogus":1}'), '400 Request decode failed: json: unknown field "Bogus"', 'an unknown field';
like register('{'), qr/^400 Request decode failed: /, 'broken JSON';
is register('{"Address":"1.2.3.4"}'), '500 Must provide node', 'no node';
is register('{"Node":"x"}'), '500 Must provide address if SkipNodeUpdate is not set', 'no address';
is register({ Node => 'x', Address => '1.2.3.4', Service => { ID => 'a' } }), '500 Must provide service name with ID', 'no service name';
is register({ Node => 'x', Address => '1.2.3.4', Datacenter => 'other' }), '500 No path to datacenter', 'another datacenter';

# ---- reads
$r = ask('GET', '/v1/catalog/service/web');
like $r->{body}, qr/^\[\{"ID":"","Node":"ext","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,"NodeMeta":\{"zone":"a"\},"ServiceKind":"","ServiceID":"web1","ServiceName":"web","ServiceTags":\["v1","Blue"\],"ServiceAddress":"","ServiceWeights":\{"Passing":1,"Warning":1\},"ServiceMeta":\{"k":"v"\},"ServicePort":80,"ServiceSocketPath":"","ServiceEnableTagOverride":false,"ServiceProxy":\{"Mode":"","MeshGateway":\{\},"Expose":\{\}\},"ServiceConnect":\{\},"CreateIndex":\d+,"ModifyIndex":\d+\},\{/,
	'a service: fields, order, empty lists and maps';
is $r->{headers}{'X-Consul-Effective-Consistency'}, 'leader', 'effective consistency';
is scalar @{$n->get_json('/v1/catalog/service/web')}, 2, 'two instances';
is scalar @{$n->get_json('/v1/catalog/service/web?tag=v1')}, 1, 'by tag';
is scalar @{$n->get_json('/v1/catalog/service/web?tag=v1&tag=blue')}, 1, 'by two tags, whatever their case';
is body('catalog/service/web?tag=v1&tag=v2'), '[]', 'all must be there';
is scalar @{$n->get_json('/v1/catalog/service/web?node-meta=zone:a')}, 1, 'by node-meta';
is scalar @{$n->get_json('/v1/catalog/service/web?filter=' . 'ServicePort+%3D%3D+81')}, 1, 'by filter';
$r = ask('GET', '/v1/catalog/nodes?filter=Foo+%3D%3D+1');
is "$r->{status} $r->{body}", '500 Failed to create boolean expression evaluator: Selector "Foo" is not valid', 'an unknown selector';
is body('catalog/service/none'), '[]', 'an unknown service';
is ask('GET', '/v1/catalog/service/')->{body}, 'Missing service name', 'none';
is_deeply [sort @{$n->get_json('/v1/catalog/services')->{web}}], [qw(Blue v1 v2)], 'services: the union of tags';
is_deeply [sort @{$n->get_json('/v1/catalog/services?node-meta=zone:a')->{web}}], [qw(Blue v1)], 'of some nodes';
is_deeply [map { $_->{Node} } @{$n->get_json('/v1/catalog/nodes?node-meta=zone:a')}], ['ext'], 'nodes by meta';
my $node = $n->get_json('/v1/catalog/node/ext');
is $node->{Node}{Node}, 'ext', 'a node';
is $node->{Services}{web1}{Service}, 'web', 'with its services by id';
is $n->get_json('/v1/catalog/node/EXT')->{Node}{Node}, 'ext', 'whatever its case';
is $n->get_json("/v1/catalog/node/$self->{ID}")->{Node}{Node}, $n->{name}, 'by id';
is $n->get_json('/v1/catalog/node-services/ext')->{Services}[0]{ID}, 'web1', 'or as a list';
is body('catalog/node/unknown'), 'null', 'an unknown node';
is body('catalog/node-services/unknown'), '{"Node":null,"Services":null}', 'as a list';
is ask('GET', '/v1/catalog/node/')->{body}, 'Missing node name', 'none';

# ---- health
like body('health/checks/web'), qr/^\[\{"Node":"ext","CheckID":"c1","Name":"up","Status":"passing","Notes":"","Output":"","ServiceID":"web1","ServiceName":"web","ServiceTags":\["v1","Blue"\],"Type":"","Interval":"","Timeout":"","ExposedPort":0,"Definition":\{\},"CreateIndex":\d+,"ModifyIndex":\d+\},/,
	'checks: fields and order';
is body('health/checks/none'), '[]', 'of an unknown service';
is scalar @{$n->get_json('/v1/health/state/warning')}, 1, 'state warning';
is body('health/state/bogus'), '[]', 'a state that is none';
is scalar @{$n->get_json('/v1/health/state/any')}, 3, 'state any';
is ask('GET', '/v1/health/state/')->{body}, 'Missing check state', 'none';
is scalar @{$n->get_json('/v1/health/node/ext')}, 1, 'checks of a node';
is body('health/node/unknown'), '[]', 'of an unknown one';
my $web = $n->get_json('/v1/health/service/web');
is_deeply [sort keys %{$web->[0]}], [qw(Checks Node Service)], 'health/service: three parts';
is_deeply $web->[0]{Service}{Weights}, { Passing => 1, Warning => 1 }, 'weights are always there';
ok exists $web->[0]{Service}{Proxy}{Mode} && exists $web->[0]{Service}{Connect}, 'Proxy and Connect too';
is scalar @$web, 2, 'both instances';
is_deeply [map { $_->{Node}{Node} } @{$n->get_json('/v1/health/service/web?passing')}], ['ext'], '?passing drops a warning';
is scalar @{$n->get_json('/v1/health/service/web?passing=1')}, 1, 'passing=1';
is scalar @{$n->get_json('/v1/health/service/web?passing=false')}, 2, 'passing=false';
$r = ask('GET', '/v1/health/service/web?passing=maybe');
is "$r->{status} $r->{body}", '400 Invalid value for ?passing', 'passing=maybe';
is body('health/service/none'), '[]', 'an unknown service';
is body('health/service/none?passing'), '[]', 'passing or not';
like body('health/service/web?passing&pretty'), qr/^\[\n    \{\n        "Node": \{/, 'passing and pretty';
is scalar @{$n->get_json('/v1/health/service/web?filter=' . 'Checks.Status+%3D%3D+warning')}, 1, 'filter';
is ask('GET', '/v1/health/service/')->{body}, 'Missing service name', 'none';
is ask('GET', '/v1/health/checks/')->{body}, 'Missing service name', 'checks of none';
is ask('GET', '/v1/health/node/')->{body}, 'Missing node name', 'node of none';

# ---- deregister
is deregister('{"Node":"ext","CheckID":"c1"}'), '200 true', 'deregister a check';
is body('health/node/ext'), '[]', 'it is gone';
is deregister('{"Node":"ext","ServiceID":"web1"}'), '200 true', 'a service';
is scalar @{$n->get_json('/v1/catalog/service/web')}, 1, 'it is gone';
is deregister('{"Node":"ext2"}'), '200 true', 'a node';
is body('catalog/service/web'), '[]', 'with all that it had';
is deregister('{"Node":"nowhere","ServiceID":"x"}'), '200 true', 'what is unknown';
is deregister('{}'), '500 Must provide node', 'nothing';
is deregister('{"Nodes":1}'), '400 Request decode failed: json: unknown field "Nodes"', 'an unknown field';

$n->stop;
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error|work still open/, 'a clean end';
done_testing;
