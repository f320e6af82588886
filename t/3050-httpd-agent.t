#!/usr/bin/perl
# /v1/agent: this node's own services and checks, row by row.
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
sub body { return ask('GET', "/v1/agent/$_[0]")->{body} }
sub put { my ($t, $b) = @_; my $x = ask('PUT', "/v1/agent/$t", {}, ref $b ? $json->encode($b) : $b // ''); return "$x->{status} $x->{body}" }
sub check { return $n->get_json('/v1/agent/checks')->{$_[0]} }

# ---- services
is body('services'), '{}', 'no services';
is body('checks'), '{}', 'no checks';
is put('service/register', { Name => 'web', Tags => ['rails'], Port => 80, Meta => { k => 'v' } }), '200 ', 'register';
is body('services'), '{"web":{"ID":"web","Service":"web","Tags":["rails"],"Meta":{"k":"v"},"Port":80,"Address":"",' .
	'"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Datacenter":"dc1"}}', 'services';
ok $n->wait_for(sub { @{$n->get_json('/v1/catalog/service/web')} }), 'it reaches the catalog';
is put('service/register', '{"name":"low","enable_tag_override":true,"PORT":81}'), '200 ', 'names match whatever their case';
is $n->get_json('/v1/agent/services')->{low}{EnableTagOverride}, JSON::PP::true, 'and with underscores';
is put('service/register', '{"Name":"x","Bogus":1}'), '400 Request decode failed: json: unknown field "Bogus"', 'an unknown field';
like put('service/register', '{"Name":'), qr/^400 Request decode failed: /, 'broken JSON';
is put('service/register', ''), '400 Request decode failed: EOF', 'no JSON';
is put('service/register', '{}'), '400 Missing service name', 'no name';
like put('service/register', { Name => 'x', Address => '0.0.0.0' }), qr/^400 Invalid service address/, 'an address that is none';
like put('service/register', { Name => 'x', Weights => { Passing => -1, Warning => 1 } }), qr/^400 Invalid Weights: /, 'weights';
like put('service/register', { Name => 'x', Meta => { 'consul-x' => 1 . '' } }), qr/^400 Invalid Service Meta: /, 'reserved meta';
like put('service/register', { Name => 'x', Check => { Interval => '1s' } }), qr/^400 Invalid check: /, 'a check that checks nothing';
is put('service/register', { Name => 'x', Check => { TTL => '10s', Status => 'fine' } }),
	"400 Status for checks must 'passing', 'warning', 'critical'", 'a status that is none';
is put('service/register', { Name => 'x', Check => { Args => ['true'], Interval => '1s' } }),
	"500 Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true", 'scripts are off';
$r = ask('GET', '/v1/agent/service/web');
like $r->{body}, qr/^\{"ID":"web",.*"ContentHash":"([0-9a-f]+)"\}$/, 'one service';
my ($hash) = $r->{body} =~ /"ContentHash":"([0-9a-f]+)"/;
is $r->{headers}{'X-Consul-Contenthash'}, $hash, 'its hash is a header too';
$r = ask('GET', '/v1/agent/service/nope');
is "$r->{status} $r->{body}", '404 unknown service ID: nope', 'an unknown one';

# ---- checks of a service, TTL results
is put('service/register', { Name => 'ttl', ID => 'ttl1', Checks => [{ TTL => '60s' }, { TTL => '60s', CheckID => 'mine', Name => 'My' }] }), '200 ', 'two checks';
is check('service:ttl1:1')->{Status}, 'critical', 'they start critical';
is check('service:ttl1:1')->{Name}, "Service 'ttl' check", 'with a name';
is check('mine')->{Name}, 'My', 'or their own';
is put('check/pass/mine?note=good'), '200 ', 'pass';
is join(' ', @{check('mine')}{qw(Status Output)}), 'passing good', 'with a note';
is put('check/warn/mine'), '200 ', 'warn';
is check('mine')->{Status}, 'warning', 'warning';
is put('check/fail/mine'), '200 ', 'fail';
is check('mine')->{Status}, 'critical', 'critical';
is put('check/update/mine', { Status => 'passing', Output => 'all well' }), '200 ', 'update';
is join(' ', @{check('mine')}{qw(Status Output)}), 'passing all well', 'status and output';
is put('check/update/mine', { Status => 'foo' }), "400 Invalid check status: 'foo'", 'a status that is none';
like put('check/update/mine', '['), qr/^400 /, 'broken JSON';
is put('check/pass/nope'), '500 CheckID "nope" does not have associated TTL', 'a check without TTL';
is put('check/pass/service:ttl1:1'), '200 ', 'colons in an id';

# ---- checks of the node
is put('check/register', { Name => 'disk', TTL => '60s', Status => 'passing' }), '200 ', 'register a check';
is check('disk')->{Status}, 'passing', 'with its status';
is check('disk')->{Node}, $n->{name}, 'of this node';
is put('check/register', { TTL => '10s' }), '400 Missing check name', 'no name';
is put('check/register', { Name => 'x', TTL => '10s', Status => 'foo' }), '400 Bad check status', 'a status that is none';
like put('check/register', { Name => 'x' }), qr/^400 Invalid check: /, 'nothing to check';
like put('check/register', { Name => 'x', TTL => '10s', ServiceID => 'none' }), qr/^500 ServiceID "x" does not exist/, 'an unknown service';
is put('check/register', { Name => 'x', Nope => 1 }), '400 Request decode failed: json: unknown field "Nope"', 'an unknown field';
is put('check/deregister/disk'), '200 ', 'deregister';
ok !defined check('disk'), 'it is gone';
is put('check/deregister/disk'), '200 ', 'again';

# ---- health
$r = ask('GET', '/v1/agent/health/service/id/web');
is $r->{status}, 200, 'health of a service without checks';
is $json->decode($r->{body})->{AggregatedStatus}, 'passing', 'passing';
is $r->{headers}{'X-Consul-Reason'}, 'passing', 'the reason is a header too';
$r = ask('GET', '/v1/agent/health/service/name/web');
is $json->decode($r->{body})->[0]{Service}{ID}, 'web', 'by name: a list';
put('check/warn/mine');
$r = ask('GET', '/v1/agent/health/service/id/ttl1');
is "$r->{status} $r->{headers}{'X-Consul-Reason'}", '429 warning', 'warning';
put('check/fail/mine');
$r = ask('GET', '/v1/agent/health/service/id/ttl1?format=text');
is "$r->{status} $r->{body} $r->{headers}{'Content-Type'}", '503 critical text/plain', 'critical, as text';
is ask('GET', '/v1/agent/health/service/name/ttl', { Accept => 'text/plain' })->{body}, 'critical', 'when it is accepted';
$r = ask('GET', '/v1/agent/health/service/id/none');
is "$r->{status} $r->{body}", '404 {"AggregatedStatus":"critical","Service":null,"Checks":null}', 'an unknown id';
$r = ask('GET', '/v1/agent/health/service/name/none');
is "$r->{status} $r->{body}", '404 []', 'an unknown name';

# ---- maintenance
is put('service/maintenance/web'), '400 Missing value for enable', 'maintenance: enable is a must';
is put('service/maintenance/web?enable=maybe'), '400 Invalid value for enable: "maybe"', 'and a bool';
is put('service/maintenance/none?enable=true'), '404 No service registered with ID "none"', 'an unknown service';
is put('service/maintenance/web?enable=true&reason=broken'), '200 ', 'on';
is join(' ', @{check('_service_maintenance:web')}{qw(Status Notes Type)}), 'critical broken maintenance', 'is a check';
$r = ask('GET', '/v1/agent/health/service/id/web');
is "$r->{status} " . $json->decode($r->{body})->{AggregatedStatus}, '503 maintenance', 'and shows in health';
is put('service/maintenance/web?enable=false'), '200 ', 'off';
ok !defined check('_service_maintenance:web'), 'is gone';
is put('maintenance?enable=true'), '200 ', 'of the node';
is check('_node_maintenance')->{Status}, 'critical', 'is a check';
is put('maintenance?enable=false'), '200 ', 'off';
is put('maintenance'), '400 Missing value for enable', 'enable is a must';

# ---- filter, replacing checks, deregister
is_deeply [keys %{$n->get_json('/v1/agent/services?filter=Port+%3D%3D+81')}], ['low'], 'services by filter';
is_deeply [keys %{$n->get_json('/v1/agent/checks?filter=CheckID+%3D%3D+mine')}], ['mine'], 'checks by filter';
is put('service/register?replace-existing-checks', { Name => 'ttl', ID => 'ttl1', Check => { TTL => '60s', CheckID => 'only' } }), '200 ', 'register anew';
is_deeply [sort keys %{$n->get_json('/v1/agent/checks')}], ['only'], 'replaces its checks';
is put('service/deregister/web'), '200 ', 'deregister';
is put('service/deregister/web'), '200 ', 'what is unknown, too';
ok !exists $n->get_json('/v1/agent/services')->{web}, 'it is gone';

$n->stop;
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error|work still open/, 'a clean end';
done_testing;
