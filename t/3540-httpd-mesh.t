#!/usr/bin/perl
# What the web pages ask for, how many there are of everything, and the mesh that is not there.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use JSON::PP ();
use Node;
use Raw;
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->canonical->allow_nonref;
my $ip = Node::_address();
my %ports = map { $_ => Node::_free_port($ip) } qw(http server);
my %common = (node_name => 'n1', datacenter => 'dc1', server => JSON::PP::true, log_level => 'INFO', advertise_addr => $ip, bind_addr => $ip,
	ports => \%ports, node_id => '11111111-2222-3333-4444-555555555555');
my $raftd = Frame::Daemon->new('raftd', { %common, dev_mode => JSON::PP::true });
my $gossip = Frame::Gossip->new($raftd->{dir}, Frame::Gossip::server('n1', $ip, $ports{server}, tags => { id => $common{node_id} }));
my $n = Frame::Daemon->new('httpd', { %common, addresses => { http => [$ip] } }, tmp => $raftd->{tmp});
@$n{qw(ip ports)} = ($ip, \%ports);

sub ask { return Raw->new($n)->ask($_[0], $_[1], $_[3], $_[2]) }
sub text { my $r = ask(@_); return "$r->{status} $r->{body}" }
sub wait_for
{
	my ($code) = @_;
	my $end = time + 30;

	until ($code->()) { return 0 if time > $end; select undef, undef, undef, 0.05 }
	return 1;
}

# The leader has put itself into the catalog: nothing moves any more.
ok wait_for(sub { text('GET', '/v1/catalog/services') eq '200 {"consul":[]}' }), 'a leader, in the catalog';

# ---- how many there are
my $r = ask('GET', '/v1/operator/usage');
my $got = $json->decode($r->{body});
is_deeply $got->{Usage}, { dc1 => { Nodes => 1, Services => 1, ServiceInstances => 1, BillableServiceInstances => 0,
	ConnectServiceInstances => { map { $_ => 0 } qw(api-gateway connect-native connect-proxy ingress-gateway mesh-gateway terminating-gateway) } } }, 'usage';
is $got->{Index}, $r->{headers}{'X-Consul-Index'}, 'its index';
for my $i (1 .. 2) {
	is text('PUT', '/v1/catalog/register', $json->encode({ Node => "m$i", Address => "10.0.0.$i",
		Service => { ID => "web$i", Service => 'web', Tags => ["v$i", 'all'], Meta => { 'external-source' => 'k8s' } },
		Checks => [{ CheckID => "node$i", Status => 'passing' }, { CheckID => "c$i", ServiceID => "web$i", Status => $i == 2 ? 'critical' : 'warning' }] })), '200 true', "node m$i";
}
is text('PUT', '/v1/catalog/register', '{"Node":"m1","Address":"10.0.0.1","Service":{"ID":"webx","Service":"web"}}'), '200 true', 'a second instance on m1';
is text('PUT', '/v1/catalog/register', '{"Node":"m1","Address":"10.0.0.1","Service":{"ID":"side","Service":"side","Kind":"connect-proxy","Proxy":{"DestinationServiceName":"web"}}}'), '200 true', 'a proxy';
$got = $json->decode(ask('GET', '/v1/operator/usage?global')->{body})->{Usage}{dc1};
is "$got->{Nodes} $got->{Services} $got->{ServiceInstances} $got->{BillableServiceInstances} $got->{ConnectServiceInstances}{'connect-proxy'}", '3 3 5 3 1', 'usage then';

# ---- nodes
$got = $json->decode(ask('GET', '/v1/internal/ui/nodes')->{body});
is join(' ', map { $_->{Node} } @$got), 'm1 m2 n1', 'nodes';
is_deeply [sort keys %{$got->[0]}], [qw(Address Checks ID Meta Node Services TaggedAddresses)], 'with these fields';
is join(' ', map { $_->{ID} } @{$got->[0]{Services}}), 'side web1 webx', 'services of the first';
is join(' ', map { $_->{CheckID} } @{$got->[0]{Checks}}), 'c1 node1', 'and checks';
$r = ask('GET', '/v1/internal/ui/node/m2');
is $json->decode($r->{body})->{Node}, 'm2', 'one node';
is text('GET', '/v1/internal/ui/node/none'), '404 ', 'none';
is text('GET', '/v1/internal/ui/node/'), '400 Missing node name', 'no name';

# ---- services
$r = ask('GET', '/v1/internal/ui/services');
like $r->{body}, qr/\{"Name":"web","Datacenter":"dc1","Tags":\["all","v1","v2"\],"Nodes":\["m1","m1","m2"\],"ExternalSources":\["k8s"\],"InstanceCount":3,"ChecksPassing":2,"ChecksWarning":1,"ChecksCritical":1,"GatewayConfig":\{\},"TransparentProxy":false,"ConnectedWithProxy":false,"ConnectedWithGateway":false\}/, 'a service summed up';
like $r->{body}, qr/\{"Kind":"connect-proxy","Name":"side",.*?"Tags":null,/, 'one of another kind';
my $waits = Raw->new($n);
$waits->send("GET /v1/internal/ui/services?index=$r->{headers}{'X-Consul-Index'}&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n");
is text('PUT', '/v1/catalog/register', '{"Node":"m1","Address":"10.0.0.1","Check":{"CheckID":"node1","Status":"critical"}}'), '200 true', 'a check changes';
like $waits->reply->{body}, qr/"ChecksPassing":1,"ChecksWarning":1,"ChecksCritical":2/, 'who waits is told';

# ---- the mesh
my $off = '500 Connect must be enabled in order to use this endpoint';
my @table = (
	['GET', '/v1/catalog/connect/web', '200 []'], ['GET', '/v1/health/connect/web', '200 []'], ['GET', '/v1/health/ingress/web', '200 []'],
	['GET', '/v1/catalog/gateway-services/gw', '200 []'], ['GET', '/v1/catalog/connect/', '400 Missing service name'],
	['GET', '/v1/health/connect/web?dc=other', '500 No path to datacenter'],
	['GET', '/v1/internal/ui/gateway-services-nodes/gw', '200 []'], ['GET', '/v1/internal/ui/gateway-intentions/gw', '200 []'],
	['GET', '/v1/internal/ui/service-topology/web', '404 '], ['GET', '/v1/internal/ui/metrics-proxy/x', '404 Metrics proxy is not enabled'],
	['GET', '/v1/internal/federation-states', '200 []'], ['GET', '/v1/internal/federation-state/dc1', '404 '],
	['GET', '/v1/agent/connect/ca/roots', $off], ['GET', '/v1/agent/connect/ca/leaf/web', $off], ['POST', '/v1/agent/connect/authorize', $off, '{}'],
	['GET', '/v1/connect/ca/roots', $off], ['GET', '/v1/connect/ca/roots?pem=true', $off], ['GET', '/v1/connect/ca/configuration', $off],
	['PUT', '/v1/connect/ca/configuration', $off, '{}'], ['GET', '/v1/discovery-chain/web', $off], ['POST', '/v1/discovery-chain/web', $off, '{}'],
	['GET', '/v1/connect/intentions', '200 []'], ['GET', '/v1/connect/intentions/exact?source=a&destination=b', '404 Intention not found'],
	['GET', '/v1/connect/intentions/00000000-0000-0000-0000-000000000000', '404 Intention not found'],
	['GET', '/v1/config/service-defaults', '200 []'], ['GET', '/v1/config/service-defaults/web', '404 Config entry not found for "service-defaults" / "web"'],
	['DELETE', '/v1/config/service-defaults/web', '200 {}'], ['PUT', '/v1/config', $off, '{}'], ['GET', '/v1/config/', '400 Bad request: Must provide a kind'],
	['GET', '/v1/peerings', '404 '], ['GET', '/v1/peering/x', '404 '], ['POST', '/v1/peering/token', '404 ', '{}'], ['GET', '/v1/exported-services', '404 '],
);
is text($_->[0], $_->[1], $_->[3]), $_->[2], "$_->[0] $_->[1]" for @table;
is ask('GET', '/v1/health/connect/web')->{headers}{'X-Consul-Index'}, ask('GET', '/v1/health/service/web')->{headers}{'X-Consul-Index'}, 'an empty list has the index of its service';

is $n->stop, 0, 'httpd ends';
is $raftd->stop, 0, 'raftd ends';
unlike $n->log . $raftd->log, qr{Sanitizer|runtime error}, 'cleanly';
done_testing;
