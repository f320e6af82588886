#!/usr/bin/perl
# What DNS answers about services, nodes, addresses and the zone itself, as
# dig sees it on a real node. Facts marked [V] were seen on Consul.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Dns;
use Node;

my $n = Node->new(dev => 1, name => 'server', config => {
	dns_config => { service_ttl => { web => '10s', 'w*' => '20s', '*' => '30s' }, node_ttl => '40s', soa => { min_ttl => 5 } },
	alt_domain => 'alt.example', node_meta => { plain => 'text', 'rfc1035-raw' => 'v=1' },
});
my $me = $n->{ip};

Dns::catalog($n, 'Node-A', '10.0.0.1', { Service => 'web', Port => 80, Tags => ['rails', 'T1'] }, 'passing');
Dns::catalog($n, 'Node-B', '10.0.0.2', { Service => 'web', Port => 81, Tags => ['v1.x'], Weights => { Passing => 9, Warning => 4 } }, 'warning');
Dns::catalog($n, 'Node-C', '10.0.0.3', { Service => 'web', Port => 82 }, 'critical');
Dns::catalog($n, 'Node-D', '10.0.0.4', { Service => 'own', Port => 83, Address => '10.9.0.4' }, 'passing');
Dns::catalog($n, 'Node-D', '10.0.0.4', { Service => 'two', ID => 'two-1', Port => 1 });
Dns::catalog($n, 'Node-D', '10.0.0.4', { Service => 'two', ID => 'two-2', Port => 2 });
Dns::catalog($n, 'Node-E', '10.0.0.5', { Service => 'host', Port => 84, Address => 'www.example.com' });
Dns::catalog($n, 'Node-F', '10.0.0.6', { Service => 'dead', Port => 85 }, 'critical');
Dns::catalog($n, 'Node-G', '2001:db8::7', { Service => 'six', Port => 86 });
Dns::catalog($n, 'Node-G', '2001:db8::7', { Service => 'wide', Port => 87 });
Dns::catalog($n, 'dotted.node', '10.0.0.8');
Dns::catalog($n, 'named', 'www.example.net', { Service => 'named', Port => 1 });
Dns::catalog($n, 'tagged', '10.0.0.9', { Service => 'tagged', Port => 1, TaggedAddresses => {
	lan_ipv4 => { Address => '10.4.4.4', Port => 1 }, lan_ipv6 => { Address => '2001:db8::4', Port => 1 } } }, undef,
	TaggedAddresses => { lan_ipv6 => '2001:db8::9' });

Dns::catalog($n, 'node-h', '10.0.0.30', { Service => 'MixedCase', Port => 88 });

sub dig { return Dns::dig($n, @_); }
sub sorted { my ($list) = @_; return [sort @$list]; }

sub soa_only
{
	my ($r, $status, $what) = @_;

	is $r->{status}, $status, "$what: $status";
	is_deeply $r->{answer}, [], '... without an answer';
	is @{$r->{authority}}, 1, '... with one record of authority';
	like $r->{authority}[0], qr/^consul\. 5 SOA ns\.consul\. hostmaster\.consul\. \d+ 3600 600 86400 5$/, '... the SOA';
}

sub bare
{
	my ($r, $what) = @_;

	is $r->{status}, 'NOERROR', "$what: NOERROR";
	is_deeply [@{$r->{answer}}, @{$r->{authority}}], [], '... with neither an answer nor a SOA';
}

# ---- services

my $r = dig('web.service.consul');
is_deeply sorted($r->{answer}), ['web.service.consul. 10 A 10.0.0.1', 'web.service.consul. 10 A 10.0.0.2'],
	'the instances without critical checks';
is $r->{status}, 'NOERROR', 'NOERROR';
is_deeply $r->{flags}, { qr => 1, aa => 1, rd => 1 }, 'authoritative, RD echoed, no recursion';
is_deeply sorted(dig('web.service.dc1.consul')->{answer}), ['web.service.dc1.consul. 10 A 10.0.0.1',
	'web.service.dc1.consul. 10 A 10.0.0.2'], 'with the datacenter named';
is_deeply dig('+norec', 'rails.web.service.consul')->{flags}, { qr => 1, aa => 1 }, 'RD is not made up';
is_deeply sorted(dig('WEB.Service.CONSUL')->{answer}), ['WEB.Service.CONSUL. 10 A 10.0.0.1', 'WEB.Service.CONSUL. 10 A 10.0.0.2'],
	'matched whatever the case, answered as spelled';
is_deeply dig('rails.web.service.consul')->{answer}, ['rails.web.service.consul. 10 A 10.0.0.1'], 'by tag';
is_deeply dig('t1.web.service.consul')->{answer}, ['t1.web.service.consul. 10 A 10.0.0.1'], 'a stored T1 matches t1 [V]';
is_deeply dig('v1.x.web.service.consul')->{answer}, ['v1.x.web.service.consul. 10 A 10.0.0.2'], 'a tag with a dot [V]';
is_deeply dig('rails.t1.web.service.consul')->{answer}, ['rails.t1.web.service.consul. 10 A 10.0.0.1'],
	'labels that are no tag together are two tags';
soa_only(dig('rails.v1.x.web.service.consul'), 'NXDOMAIN', '... and nobody has these');
soa_only(dig('rails.nope.web.service.consul'), 'NXDOMAIN', '... nor these');
is_deeply dig('rails.web.service.dc1.dc.consul')->{answer}, ['rails.web.service.dc1.dc.consul. 10 A 10.0.0.1'], 'the datacenter as 1.16 has it';
is_deeply dig('rails.web.service.default.ns.default.ap.dc1.dc.consul', 'SRV')->{answer},
	['rails.web.service.default.ns.default.ap.dc1.dc.consul. 10 SRV 1 1 80 Node-A.node.dc1.consul.'], '... with namespace and partition';
soa_only(dig("web.service.$_.consul"), 'NXDOMAIN', "web.service.$_") for qw(other.ns other.ap east.peer x.sg dc9.dc);
is_deeply dig('_web._rails.service.consul', 'SRV')->{answer}, ['_web._rails.service.consul. 10 SRV 1 1 80 Node-A.node.dc1.consul.'],
	'RFC 2782 with a tag';
is @{dig('_web._tcp.service.consul', 'SRV')->{answer}}, 2, '_tcp is no tag';
is @{dig('_web._tcp.consul', 'SRV')->{answer}}, 2, 'without "service" for SRV';
is @{dig('_web._tcp.dc1.consul', 'SRV')->{answer}}, 2, '... and with the datacenter';
soa_only(dig('_web._udp.service.consul', 'SRV'), 'NXDOMAIN', '_udp is a tag');
is @{dig('_web._tcp.service.consul', 'A')->{answer}}, 2, 'RFC 2782 for A too';

is_deeply dig('mixedcase.service.consul')->{answer}, ['mixedcase.service.consul. 30 A 10.0.0.30'], 'a service registered in mixed case';

$r = dig('web.service.consul', 'SRV');
is_deeply sorted($r->{answer}), ['web.service.consul. 10 SRV 1 1 80 Node-A.node.dc1.consul.',
	'web.service.consul. 10 SRV 1 4 81 Node-B.node.dc1.consul.'], 'SRV: priority, weight by health, port, stored name of the node';
is_deeply sorted($r->{additional}), ['Node-A.node.dc1.consul. 10 A 10.0.0.1', 'Node-B.node.dc1.consul. 10 A 10.0.0.2'],
	'... with the addresses of the targets';
$r = dig('own.service.consul', 'SRV');
is_deeply $r->{answer}, ['own.service.consul. 30 SRV 1 1 83 0a090004.addr.dc1.consul.'], 'a service with an address of its own';
is_deeply $r->{additional}, ['0a090004.addr.dc1.consul. 30 A 10.9.0.4'], '... which its target spells';
is_deeply dig('own.service.consul')->{answer}, ['own.service.consul. 30 A 10.9.0.4'], '... and A gives';
is_deeply dig('0a090004.addr.dc1.consul')->{answer}, ['0a090004.addr.dc1.consul. 40 A 10.9.0.4'], '... and the target is found';
is_deeply dig('two.service.consul')->{answer}, ['two.service.consul. 30 A 10.0.0.4'], 'equal addresses are told once';
is @{dig('two.service.consul', 'SRV')->{answer}}, 2, '... but both ports';
soa_only(dig('nope.service.consul'), 'NXDOMAIN', 'an unknown service [V]');
soa_only(dig('dead.service.consul'), 'NXDOMAIN', 'no healthy instance [V]');
soa_only(dig('six.service.consul', 'A'), 'NOERROR', 'no address of the family [V]');
soa_only(dig('web.service.consul', 'MX'), 'NOERROR', 'MX of a service [V]');
soa_only(dig('web.service.dc9.consul'), 'NXDOMAIN', 'an unknown datacenter [V]');
soa_only(dig('web.service.dc1.x.consul'), 'NXDOMAIN', 'two labels behind the keyword');
is_deeply sorted(dig('web.service.consul', 'TXT')->{answer}), ['web.service.consul. 10 A 10.0.0.1',
	'web.service.consul. 10 A 10.0.0.2'], 'TXT of a service gives its addresses [V]';
is_deeply dig('six.service.consul', 'AAAA')->{answer}, ['six.service.consul. 30 AAAA 2001:db8::7'], 'AAAA';
is_deeply dig('six.service.consul', 'ANY', '+notcp')->{answer}, ['six.service.consul. 30 AAAA 2001:db8::7'], 'ANY';
is_deeply dig('wide.service.consul', 'AAAA')->{answer}, ['wide.service.consul. 20 AAAA 2001:db8::7'], 'service_ttl by prefix';
is_deeply dig('six.service.consul', 'SRV')->{additional}, ['Node-G.node.dc1.consul. 30 AAAA 2001:db8::7'], 'an IPv6 target';
is_deeply dig('host.service.consul')->{answer}, ['host.service.consul. 30 CNAME www.example.com.'], 'a host name is a CNAME';
is_deeply dig('host.service.consul', 'SRV')->{answer}, ['host.service.consul. 30 SRV 1 1 84 www.example.com.'], '... and a target';
is_deeply dig('tagged.service.consul', 'A')->{answer}, ['tagged.service.consul. 30 A 10.4.4.4'], 'A prefers lan_ipv4';
is_deeply dig('tagged.service.consul', 'AAAA')->{answer}, ['tagged.service.consul. 30 AAAA 2001:db8::4'], 'AAAA prefers lan_ipv6';
is_deeply dig('tagged.service.consul', 'SRV')->{answer},
	['tagged.service.consul. 30 SRV 1 1 1 20010db8000000000000000000000004.addr.dc1.consul.'], '... and SRV the address of IPv6';
is_deeply dig('tagged.node.consul', 'AAAA')->{answer}, ['tagged.node.consul. 40 AAAA 2001:db8::9'], '... of nodes too';

# ---- nodes

is_deeply dig('node-a.node.consul')->{answer}, ['node-a.node.consul. 40 A 10.0.0.1'], 'a node';
is_deeply dig('node-a.node.dc1.consul')->{answer}, ['node-a.node.dc1.consul. 40 A 10.0.0.1'], '... with the datacenter';
is_deeply dig('node-f.node.consul')->{answer}, ['node-f.node.consul. 40 A 10.0.0.6'], 'whatever its health';
is_deeply dig('dotted.node.node.consul')->{answer}, ['dotted.node.node.consul. 40 A 10.0.0.8'], 'dots in its name';
is_deeply dig('named.node.consul')->{answer}, ['named.node.consul. 40 CNAME www.example.net.'], 'a host name as its address';
soa_only(dig('nope.node.consul'), 'NXDOMAIN', 'an unknown node [V]');
soa_only(dig('nope.node.consul', 'TXT'), 'NXDOMAIN', '... for TXT');
bare(dig('node-a.node.consul', 'AAAA'), 'AAAA of an IPv4 node [V]');
bare(dig('node-a.node.consul', 'SRV'), 'SRV of a node [V]');
bare(dig('nope.node.consul', 'MX'), 'MX of an unknown node [V]');
my $meta = $n->wait_for(sub { my $x = dig('server.node.consul', 'TXT'); @{$x->{answer}} >= 3 && $x });
is_deeply sorted($meta->{answer}), ['server.node.consul. 40 TXT "consul-network-segment="', 'server.node.consul. 40 TXT "plain=text"',
	'server.node.consul. 40 TXT "v=1"'], 'TXT of a node: its meta data, rfc1035- raw [V]';
$r = dig('server.node.consul', 'A');
is_deeply $r->{answer}, ["server.node.consul. 40 A $me"], 'A of a node';
is_deeply sorted($r->{additional}), sorted($meta->{answer}), '... has them in ADDITIONAL [V]';
$r = dig('server.node.consul', 'ANY', '+notcp');
is @{$r->{answer}}, 4, 'ANY of a node has them in ANSWER';

# ---- addresses

is_deeply dig('7f000001.addr.consul')->{answer}, ['7f000001.addr.consul. 40 A 127.0.0.1'], 'an address in hex';
is_deeply dig('7f000001.addr.consul', 'AAAA')->{answer}, ['7f000001.addr.consul. 40 A 127.0.0.1'], 'its own family, whatever was asked [V]';
is_deeply dig('20010db8000000000000000000000001.addr.dc9.consul', 'AAAA')->{answer},
	['20010db8000000000000000000000001.addr.dc9.consul. 40 AAAA 2001:db8::1'], 'IPv6, in any datacenter';
bare(dig('7f0001.addr.consul'), 'another length [V]');
soa_only(dig('7f00000g.addr.consul'), 'NXDOMAIN', 'no hex');
soa_only(dig('7f0000010.addr.consul'), 'NXDOMAIN', 'half a byte too many');

# ---- the zone

$r = dig('consul', 'SOA');
like $r->{answer}[0], qr/^consul\. 5 SOA ns\.consul\. hostmaster\.consul\. (\d+) 3600 600 86400 5$/, 'SOA';
my ($serial) = $r->{answer}[0] =~ /consul\. (\d+) 3600/;
ok abs($serial - time) < 60, '... whose serial is the time';
is_deeply $r->{authority}, ['consul. 40 NS server.node.dc1.consul.'], '... with NS in AUTHORITY [V]';
is_deeply $r->{additional}, ["server.node.dc1.consul. 40 A $me"], '... and glue [V]';
is @{dig('any.thing.consul', 'SOA')->{answer}}, 1, 'SOA of any name in the zone';
$r = dig('some.name.consul', 'NS');
is_deeply $r->{answer}, ['consul. 40 NS server.node.dc1.consul.'], 'NS of any name in the zone';
is_deeply $r->{additional}, ["server.node.dc1.consul. 40 A $me"], '... with glue [V]';
soa_only(dig('consul', 'A'), 'NXDOMAIN', 'other types at the apex [V]');
soa_only(dig('web.consul', 'A'), 'NXDOMAIN', 'a name without a keyword');
soa_only(dig('web.query.consul', 'A'), 'NXDOMAIN', 'a query that does not exist');
soa_only(dig("web.$_.consul", 'A'), 'NXDOMAIN', "no mesh: $_") for qw(connect ingress virtual);
$r = dig('www.example.org');
is $r->{status}, 'REFUSED', 'outside of the zones [V]';
is_deeply $r->{flags}, { qr => 1, rd => 1 }, '... not authoritative [V]';
is_deeply dig('1.0.0.10.in-addr.arpa', 'PTR')->{answer}, ['1.0.0.10.in-addr.arpa. 0 PTR Node-A.node.dc1.consul.'], 'PTR of a node';
$r = dig('1.99.0.10.in-addr.arpa', 'PTR');
is $r->{status}, 'SERVFAIL', 'PTR that nobody is there to ask about [V]';
is_deeply $r->{flags}, { qr => 1, rd => 1, ra => 1 }, '... RA and no AA [V]';
is Dns::ask($n, 'consul', 'AXFR')->{status}, 'NOTIMP', 'AXFR [V]';
is Dns::ask($n, 'web.service.consul', 'A', class => 3)->{status}, 'REFUSED', 'another class than IN';

# ---- the other domain

is_deeply dig('rails.web.service.alt.example')->{answer}, ['rails.web.service.alt.example. 10 A 10.0.0.1'], 'alt_domain';
is_deeply dig('rails.web.service.alt.example', 'SRV')->{answer}, ['rails.web.service.alt.example. 10 SRV 1 1 80 Node-A.node.dc1.consul.'],
	'... whose targets are in the main one';
soa_only(dig('nope.service.alt.example'), 'NXDOMAIN', 'an unknown service there');
is dig('web.service.example')->{status}, 'REFUSED', 'its parent is not ours';

# ---- changes

Dns::catalog($n, 'Node-C', '10.0.0.3', { Service => 'web', Port => 82 }, 'passing');
ok $n->wait_for(sub { @{dig('web.service.consul')->{answer}} == 3 }, 2), 'a service that became healthy is told of';
$n->http('PUT', '/v1/catalog/deregister', { Node => 'Node-A' });
ok $n->wait_for(sub { dig('node-a.node.consul')->{status} eq 'NXDOMAIN' }, 2), 'a node that is gone is not';
ok $n->wait_for(sub { dig('rails.web.service.consul')->{status} eq 'NXDOMAIN' }, 2), '... nor its service';
Dns::catalog($n, 'Node-N', '10.0.0.20', { Service => 'nope', Port => 80 });
ok $n->wait_for(sub { dig('nope.service.consul')->{status} eq 'NOERROR' }, 2), 'a name that did not exist and does now';
done_testing;
