#!/usr/bin/perl
# DNS with ACLs: what the token of the answers may not see does not exist; another token, or other rights, are seen at once.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Node;
use Acl;

my $n = Acl::node(name => 'n1', tokens => { agent => $Acl::ROOT });
for my $s (qw(web db)) {
	is((Acl::http($n, $Acl::ROOT, 'PUT', '/v1/agent/service/register', "{\"Name\": \"$s\", \"Port\": 80}"))[0], 200, "a service: $s");
}
ok $n->wait_for(sub { keys %{Acl::get($n, $Acl::ROOT, '/v1/catalog/services')} == 3 }), 'they are in the catalog';

sub status { my ($name) = @_; return $n->dig($name, 'A') =~ /status: (\w+)/ ? $1 : 'none' }
sub becomes { my ($name, $want) = @_; return $n->wait_for(sub { status($name) eq $want }) }
sub set { my ($type, $token) = @_; return (Acl::http($n, $Acl::ROOT, 'PUT', "/v1/agent/token/$type", "{\"Token\": \"$token\"}"))[0] }

# ---- anonymous

is status('web.service.consul'), 'NXDOMAIN', 'a service that nobody may see';
is status('n1.node.consul'), 'NXDOMAIN', 'a node';
is status('none.service.consul'), 'NXDOMAIN', 'looks as one that is not there';
like $n->dig('consul', 'SOA'), qr/status: NOERROR/, 'the zone is there';
Acl::anonymous($n, 'service "web" { policy = "read" } node_prefix "" { policy = "read" }');
ok becomes('web.service.consul', 'NOERROR'), 'the anonymous token gets a right: seen';
is status('n1.node.consul'), 'NOERROR', 'the node, too';
is status('db.service.consul'), 'NXDOMAIN', 'no more than that';

# ---- the default token, and one for DNS alone

my ($db) = Acl::token($n, 'service "db" { policy = "read" } node_prefix "" { policy = "read" }');
my ($both, undef, $policy) = Acl::token($n, 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }');
is set('default', $db), 200, 'a default token';
ok becomes('db.service.consul', 'NOERROR'), 'is what answers are made with';
ok becomes('web.service.consul', 'NXDOMAIN'), 'what was seen before is no more';
is set('dns', $both), 200, 'a token for DNS';
ok becomes('web.service.consul', 'NOERROR'), 'goes before it';
is status('db.service.consul'), 'NOERROR', '... for all names';
is((Acl::http($n, undef, 'GET', '/v1/health/service/web'))[1], '[]', 'and for DNS alone');

# ---- prepared queries and names of addresses

is((Acl::http($n, $Acl::ROOT, 'POST', '/v1/query', '{"Name": "find", "Service": {"Service": "web"}}'))[0], 200, 'a prepared query');
my $ptr = join('.', reverse split /\./, $n->{ip}) . '.in-addr.arpa';
ok becomes('find.query.consul', 'NOERROR'), 'answers with what the token may see';
ok $n->wait_for(sub { $n->dig($ptr, 'PTR') =~ /\bPTR\s+n1\.node\.dc1\.consul\./ }), 'as the name of an address does';

# ---- its rights change, and end

Acl::change($n, $policy, 'service "web" { policy = "read" } node_prefix "" { policy = "read" }');
ok becomes('db.service.consul', 'NXDOMAIN'), 'fewer rights: a name that was known is no more';
is status('web.service.consul'), 'NOERROR', 'the other one is';
Acl::change($n, $policy, 'service_prefix "" { policy = "read" }');
ok becomes('web.service.consul', 'NXDOMAIN'), 'instances on nodes that may not be seen are none';
ok becomes('find.query.consul', 'NXDOMAIN'), '... for a prepared query, too';
ok $n->wait_for(sub { $n->dig($ptr, 'PTR') =~ /status: SERVFAIL/ }), 'and nobody is at the address of the node';
Acl::change($n, $policy, 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }');
ok becomes('db.service.consul', 'NOERROR'), 'more rights: seen again';
ok becomes('find.query.consul', 'NOERROR'), '... by the prepared query';
ok $n->wait_for(sub { $n->dig($ptr, 'PTR') =~ /\bPTR\s+n1\.node\.dc1\.consul\./ }), '... and at the address';
my ($short, $accessor) = Acl::token($n, 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }');
is set('dns', $short), 200, 'a token';
ok becomes('web.service.consul', 'NOERROR'), 'with which there are answers';
is((Acl::http($n, $Acl::ROOT, 'DELETE', "/v1/acl/token/$accessor"))[0], 200, 'is removed');
ok becomes('web.service.consul', 'NXDOMAIN'), 'and so are they';
is set('dns', ''), 200, 'without one for DNS';
ok becomes('db.service.consul', 'NOERROR'), 'the default one is used';
is status('web.service.consul'), 'NXDOMAIN', 'as before';
unlike $n->log_text . $n->err_text, qr/$db|$both|$short/, 'no token is in the log';
done_testing;
