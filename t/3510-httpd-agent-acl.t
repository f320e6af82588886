#!/usr/bin/perl
# The agent's own endpoints with ACLs: each asks for its right; where a token comes from; what agent/self says; secrets are shown to nobody.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use JSON::PP ();
use Node;
use Acl;

my $recovery = 'fe3b8d40-0ee0-8783-6cc2-ab1aa9bb16c1';
my $n = Acl::node(name => 'n1', dev => 1, tokens => { agent_recovery => $recovery });
my ($reader, $reader_accessor) = Acl::token($n, 'agent "n1" { policy = "read" }');
my ($writer) = Acl::token($n, 'agent_prefix "n" { policy = "write" }');
my ($operator) = Acl::token($n, 'operator = "write"');
my ($other) = Acl::token($n, 'agent "n2" { policy = "write" } key_prefix "" { policy = "write" }');

sub http { return Acl::http($n, @_) }

# ---- who may

my %rows = (
	'GET /v1/agent/self' => 'agent:read', 'GET /v1/agent/version' => 'agent:read', 'GET /v1/agent/metrics' => 'agent:read',
	'GET /v1/agent/monitor?loglevel=nonsense' => 'agent:read', 'GET /v1/agent/host' => 'operator:read',
	'PUT /v1/agent/reload' => 'agent:write', 'PUT /v1/agent/token/nonsense' => 'agent:write',
);
my %answer = ('GET /v1/agent/monitor?loglevel=nonsense' => 400, 'PUT /v1/agent/token/nonsense' => 404);
my %may = (
	'agent:read' => { $reader => 1, $writer => 1, $recovery => 1, $Acl::ROOT => 1 },
	'agent:write' => { $writer => 1, $recovery => 1, $Acl::ROOT => 1 },
	'operator:read' => { $operator => 1, $Acl::ROOT => 1 },
);
my %names = ($reader => 'reader', $writer => 'writer', $operator => 'operator', $other => 'other', $recovery => 'recovery', $Acl::ROOT => 'management');
for my $row (sort keys %rows) {
	my ($method, $path) = split / /, $row;
	my %got = map { $names{$_} => (http($_, $method, $path, $method eq 'PUT' ? '{}' : undef))[0] } keys %names;
	my %want = map { $names{$_} => $may{$rows{$row}}{$_} ? $answer{$row} // 200 : 403 } keys %names;

	is_deeply \%got, \%want, "$row: $rows{$row}";
}
is((http($reader, 'GET', '/v1/agent/host'))[1], "Permission denied: token with AccessorID '$reader_accessor' lacks permission 'operator:read'", 'a refusal names token and right');
is((http($reader, 'PUT', '/v1/agent/reload'))[1], "Permission denied: token with AccessorID '$reader_accessor' lacks permission 'agent:write' on \"n1\"", '... and the node');
is((http(undef, 'GET', '/v1/agent/self'))[1], "Permission denied: anonymous token lacks permission 'agent:read' on \"n1\". "
	. 'The anonymous token is used implicitly when a request does not specify a token.', 'the anonymous one is explained');
is((http('nobody', 'GET', '/v1/agent/self'))[1], 'ACL not found', 'a token that is none');
is((http(undef, 'PUT', '/v1/agent/leave'))[0], 403, 'nobody leaves without a right');
ok $n->running, '... and the agent runs on';
is((http(undef, 'GET', '/v1/coordinate/datacenters'))[0], 200, 'coordinates of datacenters are open');
is((http(undef, 'GET', '/v1/status/leader'))[0], 200, 'and the leader\'s address');

# ---- where a token comes from

sub self { my ($path, %h) = @_; return ($n->http('GET', "/v1/agent/self$path", undef, \%h))[0] }
is self("?token=$reader"), 200, '?token';
is self('', 'X-Consul-Token' => $reader), 200, 'X-Consul-Token';
is self('', 'Authorization' => "Bearer $reader"), 200, 'Authorization: Bearer';
is self('', 'X-Consul-Token' => " $reader  "), 200, 'blanks behind a token are no part of it';
is self('', 'Authorization' => "Bearer  $reader "), 200, 'nor are those around a bearer';
is self("?token=$other", 'X-Consul-Token' => $reader), 403, 'the query wins over the header';
is self('', 'X-Consul-Token' => $other, 'Authorization' => "Bearer $reader"), 403, 'the header wins over the bearer';
is self('', 'Authorization' => 'Basic eDp5'), 403, 'another scheme is no token';
is(($n->http('GET', '/v1/agent/self'))[1]{'x-consul-default-acl-policy'}, 'deny', 'the default policy is told, on a refusal too');

# Secrets that stand in a path: the API of old, and who takes one for an accessor. With all the others they are looked for in the log below.
is((http($Acl::ROOT, 'GET', "/v1/acl/$_"))[0], $_ =~ /^info/ ? 410 : 403, "/v1/acl/$_") for "info/$writer", "token/$writer";

# A flag that is for daemons among themselves cannot be had over HTTP.
like((http(undef, 'GET', '/v1/agent/members?Internal=true&internal=true'))[1], qr/^\[\]\s*$/, 'no parameter makes a client a daemon');
is((http(undef, 'PUT', '/v1/agent/join/127.0.0.1?internal', '{"Internal": true}'))[0], 403, '... nor a body');

# ---- what is told

my $self = Acl::get($n, $reader, '/v1/agent/self');
is $self->{Member}{Tags}{acls}, '1', 'the member\'s tag says that ACLs are on';
is $self->{Member}{Name}, 'n1', '... of the agent itself, which the right to nodes is not asked for';
is $self->{Stats}{consul}{acl}, 'enabled', 'Stats say so';
my $all = (http($reader, 'GET', '/v1/agent/self'))[1];
unlike $all, qr/$Acl::ROOT|$recovery/, 'no secret is shown';
like $all, qr/"hidden"/, 'that there are some is';
is $self->{DebugConfig}{ACLTokenTTL}, 30000, 'but a time is no secret';
my $secrets = join '|', keys %names;
unlike $n->log_text . $n->err_text, qr/$secrets/, 'no token is in the log, with every request in it';

# ---- ACLs off

my $off = Node->new(name => 'n2', dev => 1);
is(($off->http('PUT', '/v1/agent/token/agent', '{"Token": "x"}'))[2], 'ACL support disabled', 'without ACLs there are no tokens');
is(($off->http('PUT', '/v1/agent/token/agent', '{"Token": "x"}'))[0], 401, '... 401');
is(($off->http('GET', '/v1/agent/self', undef, { 'X-Consul-Token' => 'nobody' }))[0], 200, 'and no token is looked at');
is(($off->http('GET', '/v1/agent/self'))[1]{'x-consul-default-acl-policy'}, 'allow', 'everything is allowed');
is(JSON::PP->new->decode(($off->http('GET', '/v1/agent/self'))[2])->{Member}{Tags}{acls}, '0', 'the tag says that they are off');
done_testing;
