#!/usr/bin/perl
# /v1/session, row by row.
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
sub create { return ask('PUT', '/v1/session/create', {}, $_[0]) }
sub info { return $n->get_json("/v1/session/info/$_[0]")->[0] }
sub refused { my ($body, $want, $name) = @_; my $x = create($body); is "$x->{status} $x->{body}", $want, $name }

# The node registers itself a moment after it leads.
$n->wait_for(sub { @{$n->get_json('/v1/catalog/nodes')} });

# ---- create
$r = ask('PUT', '/v1/session/create');
like $r->{body}, qr/^\{"ID":"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"\}$/, 'create without a body';
my $id = $json->decode($r->{body})->{ID};
$r = ask('GET', "/v1/session/info/$id");
like $r->{body}, qr/^\[\{"ID":"$id","Name":"","Node":"$n->{name}","LockDelay":15000000000,"Behavior":"release","TTL":"","NodeChecks":\["serfHealth"\],"ServiceChecks":null,"CreateIndex":\d+,"ModifyIndex":\d+\}\]$/,
	'has the defaults';
like $r->{headers}{'X-Consul-Index'}, qr/^[1-9]/, 'and an index';
is $r->{headers}{'X-Consul-Knownleader'}, 'true', 'and a leader';
my $s = info($json->decode(create('{"Name":"n","TTL":"10s","Behavior":"delete","LockDelay":"5s"}')->{body})->{ID});
is_deeply [@$s{qw(Name TTL Behavior LockDelay)}], ['n', '10s', 'delete', 5_000_000_000], 'what was asked for';
is info($json->decode(create('{"LockDelay":20}')->{body})->{ID})->{LockDelay}, 20_000_000_000, 'a small LockDelay is in seconds';
is info($json->decode(create('{"LockDelay":2000000000}')->{body})->{ID})->{LockDelay}, 2_000_000_000, 'a large one in ns';
is info($json->decode(create('{"name":"low","behavior":"delete"}')->{body})->{ID})->{Name}, 'low', 'names match whatever their case';
is create('{"Name":"x","Bogus":1}')->{status}, 200, 'unknown fields are ignored';
is_deeply info($json->decode(create('{"NodeChecks":[]}')->{body})->{ID})->{NodeChecks}, [], 'no checks at all';
is_deeply info($json->decode(create('{"Checks":["serfHealth"]}')->{body})->{ID})->{NodeChecks}, ['serfHealth'], 'the old name of the checks';
like create('{"Name":')->{body}, qr/^Request decode failed: /, 'broken JSON';
is create('{"Name":')->{status}, 400, 'is a bad request';
like create('{"Name":7}')->{body}, qr/^Request decode failed: /, 'a number for a name';
refused('{"TTL":"5s"}', "500 Invalid Session TTL '5000000000', must be between [10s=24h0m0s]", 'too short a TTL');
refused('{"TTL":"25h"}', "500 Invalid Session TTL '90000000000000', must be between [10s=24h0m0s]", 'too long a TTL');
refused('{"Behavior":"x"}', "500 Invalid Behavior setting 'x'", 'an unknown behavior');
refused('{"Node":"nowhere"}', '500 apply failed: Missing node registration', 'an unknown node');
refused('{"NodeChecks":["nope"]}', "500 apply failed: Missing check 'nope' registration", 'an unknown check');

# ---- reads
ok @{$n->get_json('/v1/session/list')} > 5, 'list';
is scalar @{$n->get_json("/v1/session/node/$n->{name}")}, scalar @{$n->get_json('/v1/session/list')}, 'all on our node';
is ask('GET', '/v1/session/node/nowhere')->{body}, '[]', 'a node without sessions';
is ask('GET', '/v1/session/info/00000000-0000-0000-0000-000000000000')->{body}, '[]', 'an unknown session';
$r = ask('GET', '/v1/session/info/nosuch');
is "$r->{status} $r->{body}", '500 failed session lookup: index error: UUID must be 36 characters', 'one that is no UUID';
$r = ask('GET', '/v1/session/info/');
is "$r->{status} $r->{body}", '400 Missing session', 'none';

# ---- renew and destroy
$r = ask('PUT', "/v1/session/renew/$s->{ID}");
is "$r->{status} " . $json->decode($r->{body})->[0]{ID}, "200 $s->{ID}", 'renew';
$r = ask('PUT', '/v1/session/renew/00000000-0000-0000-0000-000000000000');
is "$r->{status} $r->{body}", "404 Session id '00000000-0000-0000-0000-000000000000' not found", 'renew of an unknown one';
ask('PUT', "/v1/kv/held?acquire=$s->{ID}", {}, 'x');
$r = ask('PUT', "/v1/session/destroy/$s->{ID}");
is "$r->{status} $r->{body}", '200 true', 'destroy';
is ask('GET', '/v1/kv/held')->{status}, 404, 'deletes what it held';
is ask('PUT', "/v1/session/destroy/$s->{ID}")->{body}, 'true', 'destroy again';
is ask('PUT', '/v1/session/destroy/')->{status}, 400, 'destroy nothing';

$n->stop;
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error|work still open/, 'a clean end';
done_testing;
