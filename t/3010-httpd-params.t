#!/usr/bin/perl
# The parameters and headers that many endpoints share, and how they are refused.
use strict;
use warnings;
use Test::More;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new(config => { http_config => { response_headers => { 'X-Site' => 'here' },
	block_endpoints => ['/v1/agent/leave', '/v1/acl'] }, log_level => 'debug' });
my $r;

sub ask { return Raw->new($n)->ask(@_) }
sub refused
{
	my ($target, $status, $body, $name, $headers) = @_;
	my $x = ask('GET', $target, $headers);
	is "$x->{status} $x->{body}", "$status $body", $name;
}

ask('PUT', '/v1/kv/a', {}, '1');

# ---- index and wait
refused('/v1/kv/a?index=x', 400, 'Invalid index', 'a bad index');
refused('/v1/catalog/nodes?index=-1', 400, 'Invalid index', 'a negative one');
refused('/v1/kv/a?index=1&wait=10', 400, 'Invalid wait time', 'a wait without a unit');
refused('/v1/health/service/web?wait=zz', 400, 'Invalid wait time', 'a bad wait, index or not');
is ask('GET', '/v1/kv/a?index=0&wait=60s')->{status}, 200, 'index 0 does not wait';
is ask('GET', '/v1/kv/a?wait=60s')->{status}, 200, 'nor does a wait without index';
is ask('GET', '/v1/kv/a?index=1')->{status}, 200, 'nor index 1 where there is data';

# ---- consistency
refused('/v1/kv/a?stale&consistent', 400, 'Cannot specify ?stale with ?consistent, conflicting semantics.', 'stale and consistent');
refused('/v1/catalog/nodes?max_stale=1s&consistent', 400,
	'Cannot specify ?stale with ?consistent, conflicting semantics.', 'max_stale means stale');
refused('/v1/health/service/x?cached&consistent', 400,
	'Cannot specify ?cached with ?consistent, conflicting semantics.', 'cached and consistent');
refused('/v1/kv/a?max_stale=x', 400, 'Invalid max_stale value "x"', 'a bad max_stale');
for (['', 'leader'], ['?stale', 'stale'], ['?consistent', 'consistent'], ['?max_stale=10s', 'stale'], ['?leader', 'leader']) {
	$r = ask('GET', "/v1/catalog/nodes$_->[0]");
	is "$r->{status} $r->{headers}{'X-Consul-Effective-Consistency'}", "200 $_->[1]", "catalog read $_->[0]";
}
is ask('GET', '/v1/kv/a?consistent')->{status}, 200, 'a consistent KV read';
is ask('GET', '/v1/kv/a?stale')->{status}, 200, 'a stale one';

# ---- cached
$r = ask('GET', '/v1/health/service/consul?cached');
like $r->{headers}{'X-Cache'}, qr/^(HIT|MISS)$/, '?cached tells where the answer came from';
ok !exists ask('GET', '/v1/health/service/consul')->{headers}{'X-Cache'}, 'others do not';
refused('/v1/health/service/consul?cached', 400, 'Invalid Cache-Control header.', 'a bad Cache-Control',
	{ 'Cache-Control' => 'max-age=soon' });
is ask('GET', '/v1/health/service/consul?cached', { 'Cache-Control' => 'max-age=5, must-revalidate' })->{status}, 200, 'a good one';

# ---- datacenters and editions
refused('/v1/kv/a?dc=nowhere', 500, 'No path to datacenter', 'an unknown datacenter');
refused('/v1/catalog/services?dc=nowhere', 500, 'No path to datacenter', 'in the catalog too');
is ask('GET', '/v1/kv/a?dc=dc1')->{status}, 200, 'our own by name';
refused('/v1/kv/a?ns=team', 400,
	'Bad request: Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature', 'ns');
like ask('GET', '/v1/kv/a?partition=p')->{body}, qr/^Bad request: Invalid query parameter: "partition" - /, 'partition';
like ask('GET', '/v1/kv/a', { 'X-Consul-Namespace' => 'team' })->{body},
	qr/^Bad request: Invalid header: "X-Consul-Namespace" - Namespaces are a Consul Enterprise feature$/, 'X-Consul-Namespace';

# ---- tokens are taken from everywhere, and kept out of the log
is ask('GET', '/v1/kv/a?token=s3cret-one')->{status}, 200, 'a token in the query';
is ask('GET', '/v1/kv/a', { 'X-Consul-Token' => 's3cret-two' })->{status}, 200, 'in its header';
is ask('GET', '/v1/kv/a', { 'Authorization' => 'Bearer s3cret-three' })->{status}, 200, 'as a bearer';
ok $n->wait_log(qr/agent\.http: Request finished: method=GET url=\/v1\/kv\/a from=[\d.]+:\d+ status=200 latency=/), 'requests are logged';
unlike $n->log_text, qr/s3cret/, 'without tokens';

# ---- what is too large for the daemon that would answer does not reach it
my $big = 't' x 9000;
for (['GET', '/v1/status/leader', { 'X-Consul-Token' => $big }], ['GET', '/v1/session/list?index=1', { 'X-Consul-Token' => $big }],
    ['PUT', "/v1/session/renew/$big"], ['PUT', '/v1/session/create', {}, '{"Name":"' . 'x' x 100000 . '"}'],
    ['GET', '/v1/kv/a?index=1', { 'X-Consul-Token' => 'small' }]) {
	my $x = ask(@$_);
	is $x->{status}, $_->[1] =~ /kv/ ? 200 : 413, "$_->[0] " . substr $_->[1], 0, 40;
}
unlike $n->log_text, qr/closing connection|malformed/, 'no daemon closes a connection for it';

# ---- what the config says about HTTP
is ask('GET', '/v1/kv/a')->{headers}{'X-Site'}, 'here', 'response_headers';
is ask('GET', '/nothing')->{headers}{'X-Site'}, 'here', 'on every answer';
$r = ask('PUT', '/v1/agent/leave');
is "$r->{status} $r->{body}", '403 Endpoint is blocked by agent configuration', 'block_endpoints';
is ask('GET', '/v1/acl/tokens')->{status}, 403, 'by prefix';

# ---- near, node-meta
is ask('GET', '/v1/catalog/nodes?near=_agent')->{status}, 200, 'near=_agent';
is ask('GET', '/v1/catalog/nodes?near=unknown')->{status}, 200, 'near an unknown node is no error';
is ask('GET', '/v1/catalog/nodes?node-meta=no:such')->{body}, '[]', 'node-meta that no node has';
is ask('GET', '/v1/catalog/nodes?' . join('&', map { "x$_=1" } 1 .. 600))->{status}, 500, 'a query without measure is refused';

$n->stop;
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error|work still open/, 'a clean end';
done_testing;
