#!/usr/bin/perl
# What no client should send to the HTTP API: one sentence each, the right status, and nothing stored of it.
use strict;
use warnings;
use Test::More;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new(config => { enable_script_checks => JSON::PP::true });
my %pids = $n->pids;

sub ask { return Raw->new($n)->ask(@_) }

# What is stored, but for what only counts or names a life.
sub state
{
	my $text = join "\n", map { ask('GET', $_)->{body} } qw(/v1/kv/?recurse /v1/catalog/nodes /v1/catalog/services
		/v1/session/list /v1/health/state/any /v1/agent/services /v1/agent/checks);
	$text =~ s/"(Create|Modify)Index":\d+/"$1Index":0/g;
	return $text;
}

# A refusal: its status, and one sentence of text that says why.
sub refused
{
	my ($status, $why, $method, $target, $body) = @_;
	my $r = ask($method, $target, {}, $body);
	my $what = "$method " . substr($target, 0, 60) . (defined $body ? ' ' . substr($body, 0, 70) : '');

	$what =~ s/[^ -~]/?/g;
	is $r ? $r->{status} : 'closed', $status, $what;
	like $r ? $r->{body} : '', $why, '... says why' if defined $why;
}

ask('PUT', '/v1/kv/before', {}, 'x');
ask('PUT', '/v1/agent/service/register', {}, '{"Name": "good", "Check": {"TTL": "1h", "Status": "passing"}}');
$n->wait_for(sub { @{$n->get_json('/v1/health/service/good')} });
$n->wait_for(sub { ask('GET', '/v1/health/service/good?passing')->{body} ne '[]' });
my $before = state();
my $unprintable = qr/^Bad request: the path holds a character that is not printable$/;

# ---- NUL, malformed UTF-8 and dots in what becomes a name

for my $path (qw(kv catalog/service catalog/node health/service health/node health/checks session/info session/node
	agent/service agent/health/service/name)) {
	refused(400, $unprintable, 'GET', "/v1/$path/a%00b");
	refused(400, $unprintable, 'GET', "/v1/$path/%ff%fe");
	refused(400, $unprintable, 'GET', "/v1/$path/%ed%a0%80");
}
for (['PUT', 'kv'], ['DELETE', 'kv'], ['PUT', 'session/destroy'], ['PUT', 'agent/service/deregister'], ['PUT', 'agent/check/pass'],
	['PUT', 'agent/join'], ['PUT', 'agent/force-leave'], ['PUT', 'agent/service/maintenance']) {
	refused(400, $unprintable, $_->[0], "/v1/$_->[1]/be%00fore?enable=true", '');
}
refused(301, undef, 'PUT', '/v1/kv/%2e%2e/catalog/register', '{"Node":"dots","Address":"1.1.1.1"}');
refused(301, undef, 'DELETE', '/v1/kv/x/%2e%2e/before', undef);
refused(301, undef, 'PUT', '/v1/kv/a/%2e/b', 'x');
refused(400, $unprintable, 'PUT', '/v1/kv/a%0d%0aX-Evil:%201', 'x');

# ---- and in parameters
refused(500, qr/^No path to datacenter$/, 'GET', '/v1/kv/before?dc=dc1%00');
refused(500, qr/^No path to datacenter$/, 'GET', '/v1/catalog/nodes?dc=' . 'x' x 3000);
refused(500, qr/^strconv.ParseUint: parsing "1\\x00": invalid syntax$/, 'PUT', '/v1/kv/before?cas=1%00', 'y');
refused(500, qr/^strconv.ParseUint: parsing "-1": invalid syntax$/, 'PUT', '/v1/kv/before?flags=-1', 'y');
refused(500, qr/UUID must be 36 characters$/, 'PUT', '/v1/kv/before?acquire=%00', 'y');
refused(400, qr/^Invalid value for enable: "\\x00"$/, 'PUT', '/v1/agent/maintenance?enable=%00');
refused(400, qr/^Invalid wait time$/, 'GET', '/v1/kv/before?index=1&wait=%00');
refused(400, qr/^Invalid wait time$/, 'GET', '/v1/kv/before?index=1&wait=99999999999999999h');
refused(400, qr/^Invalid index$/, 'GET', '/v1/kv/before?index=99999999999999999999');
refused(500, qr/^Failed to create boolean expression evaluator: 1:1/, 'GET', '/v1/catalog/nodes?filter=%00');
refused(500, qr/nested too deeply$/, 'GET', '/v1/catalog/nodes?filter=' . '(' x 3000);
refused(500, qr/nested too deeply$/, 'GET', '/v1/catalog/nodes?filter=' . 'not+' x 2000 . 'Node+is+empty');
is ask('PUT', '/v1/kv/before?release=%ff%fe', {}, 'y')->{body}, 'false', 'a session that cannot be holds no lock';
is ask('GET', '/v1/kv/?keys&separator=%00')->{body}, '["before"]', 'a separator that no key holds cuts nothing';
is ask('GET', '/v1/catalog/service/good?tag=%00%ff')->{body}, '[]', 'a tag that none has';
is ask('GET', '/v1/catalog/nodes?node-meta=%00:%ff')->{body}, '[]', 'meta data that none has';

# ---- JSON that is none, and JSON that json-c would bend

my %endpoint = (
	'catalog/register' => 'Request decode failed', 'catalog/deregister' => 'Request decode failed', 'session/create' => 'Request decode failed',
	'agent/service/register' => 'Request decode failed', 'agent/check/register' => 'Request decode failed',
	'agent/check/update/service:good' => 'Request decode failed', 'txn' => 'Failed to parse body',
);
for my $path (sort keys %endpoint) {
	for my $body ('{', '[', '}', '"', 'nul', '{"Name":}', "{\"Name\":\"\xff\"}", "{\"Name\":\"a\0b\"}", '{"Name":"x"} {"Name":"y"}', '[' x 100000,
		'{"a":' x 30000, "\xef\xbb\xbf{}", '{"Name":"\ud800"', '{"N":1e}', "{'Name':'x'}", '{"Name":"x",}', '// x', '7', '"text"',
		'{"Name\u0000":"x"}', '{"Port":99999999999999999999}') {
		refused(400, qr/^\Q$endpoint{$path}\E: \S/, 'PUT', "/v1/$path", $body);
	}
}
refused(400, qr/a name holds a NUL/, 'PUT', '/v1/catalog/register', '{"Node":"n","Address":"1.1.1.1","NodeMeta":{"a\u0000b":"c"}}');
refused(400, qr/an integer beyond 64 bits/, 'PUT', '/v1/txn', '[{"KV":{"Verb":"set","Key":"k","Flags":18446744073709551616}}]');
refused(400, qr/cannot unmarshal number into field Flags/, 'PUT', '/v1/txn', '[{"KV":{"Verb":"set","Key":"k","Flags":-1}}]');
refused(400, qr/cannot unmarshal number into field Port/, 'PUT', '/v1/catalog/register',
	"{\"Node\":\"n\",\"Address\":\"1.1.1.1\",\"Service\":{\"Service\":\"s\",\"Port\":$_}}") for qw(1e30 9999999999999999999 1.5);
for (qw(-9223372036854775808 18446744073709551615 1e300 -1e300), '"99999999999h"', '"1e3s"', '"x\u0000"') {
	refused(400, qr/^Request decode failed: LockDelay: time: invalid duration/, 'PUT', '/v1/session/create', "{\"LockDelay\":$_}");
	refused(400, qr/^Request decode failed: TTL: time: invalid duration/, 'PUT', '/v1/agent/check/register', "{\"Name\":\"c\",\"TTL\":$_}")
	    if !/^-/;
}
# A value that is passed on as it came: whoever it passes must be able to read it.
my $deep = '[' x 30 . ']' x 30;
refused(400, qr/field Proxy: nesting too deep$/, 'PUT', '/v1/catalog/register',
	"{\"Node\":\"n\",\"Address\":\"1.1.1.1\",\"Service\":{\"Service\":\"s\",\"Proxy\":$deep}}");
refused(400, qr/field Proxy: nesting too deep$/, 'PUT', '/v1/txn',
	"[{\"Service\":{\"Verb\":\"set\",\"Node\":\"$n->{name}\",\"Service\":{\"Service\":\"s\",\"Proxy\":$deep}}}]");
refused(400, qr/field Proxy: nesting too deep$/, 'PUT', '/v1/agent/service/register', "{\"Name\":\"s\",\"Proxy\":$deep}");

# ---- names with a NUL
refused(500, qr/^Invalid node name: it holds a NUL$/, 'PUT', '/v1/catalog/register', '{"Node":"a\u0000b","Address":"1.1.1.1"}');
refused(409, qr/Invalid node name: it holds a NUL/, 'PUT', '/v1/txn', '[{"Node":{"Verb":"set","Node":{"Node":"a\u0000","Address":"1.1.1.1"}}}]');
refused(400, qr/^Invalid service: a name must not contain a NUL byte$/, 'PUT', '/v1/agent/service/register', '{"Name":"a\u0000b"}');
refused(400, qr/must not contain a NUL byte$/, 'PUT', '/v1/agent/check/register', '{"Name":"c\u0000","TTL":"10s"}');
refused(400, qr/must not contain a NUL byte$/, 'PUT', '/v1/agent/check/register', '{"Name":"c","Interval":"1h","Args":["true\u0000","x"]}');

# ---- values at and over the limit, without a declared size
{
	my $chunked = sub {
		my ($key, $size) = @_;
		my $c = Raw->new($n);

		$c->send("PUT /v1/kv/$key HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
		for (my $left = $size; $left > 0; $left -= 60000) {
			my $part = $left < 60000 ? $left : 60000;
			$c->send(sprintf("%x\r\n", $part) . 'v' x $part . "\r\n");
		}
		$c->send("0\r\n\r\n");
		return $c->reply;
	};
	is $chunked->('limit', 524288)->{body}, 'true', '512 KiB in chunks are stored';
	is length(ask('GET', '/v1/kv/limit?raw')->{body}), 524288, '... whole';
	my $r = $chunked->('limit', 524289);
	is $r->{status}, 413, 'one byte more is refused';
	like $r->{body}, qr/^Request body\(\d+ bytes\) too large, max size: 524288 bytes\./, '... says why';
	is length(ask('GET', '/v1/kv/limit?raw')->{body}), 524288, '... and changes nothing';
	is ask('PUT', '/v1/txn', {}, '[' . join(',', map { "{\"KV\":{\"Verb\":\"set\",\"Key\":\"many$_\",\"Value\":\"eA==\"}}" } 1 .. 65) . ']')->{status},
		413, '65 operations';
	ask('DELETE', '/v1/kv/limit');
}

# ---- requests whose end could be elsewhere

sub raw
{
	my ($what, $status, $bytes, $half) = @_;
	my $c = Raw->new($n);

	$c->send($bytes);
	shutdown $c->{s}, 1 if $half;
	my $r = $c->reply(seconds => 10);
	is $r ? $r->{status} : 'closed', $status, $what;
	return $c;
}

my $put = "PUT /v1/kv/smuggled HTTP/1.1\r\nHost: x\r\n";
my $tail = "abcdeGET /v1/kv/before HTTP/1.1\r\nHost: x\r\n\r\n";
for (['two lengths', 400, "Content-Length: 3\r\nContent-Length: 5"], ['a negative length', 400, 'Content-Length: -3'],
	['a length with a sign', 400, 'Content-Length: +3'], ['a list of lengths', 400, 'Content-Length: 3, 3'],
	['a length beyond 64 bits', 413, 'Content-Length: 99999999999999999999999'], ['the largest length', 413, 'Content-Length: 18446744073709551615'],
	['a blank behind the name', 400, 'Content-Length : 5'], ['an encoding that is not ours', 501, 'Transfer-Encoding: gzip'],
	['one that is and is not', 501, "Transfer-Encoding: gzip, chunked"], ['one that sounds like ours', 501, "Transfer-Encoding: xchunked\r\nContent-Length: 5"],
	['a line without a colon', 400, 'nonsense']) {
	ok raw($_->[0], $_->[1], "$put$_->[2]\r\n\r\n$tail")->closed, '... and the connection ends';
}
for (['a chunk of no size', 400, 'zz'], ['a negative chunk', 400, '-3'], ['a chunk beyond 64 bits', 413, 'f' x 20], ['a chunk longer than told', 400, '3']) {
	ok raw($_->[0], $_->[1], "${put}Transfer-Encoding: chunked\r\n\r\n$_->[2]\r\nabcdef\r\n0\r\n\r\n")->closed, '... and the connection ends';
}
raw('a body that is cut off', 'closed', "${put}Content-Length: 10\r\n\r\nabc", 1);
raw('chunks that are cut off', 'closed', "${put}Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n", 1);
raw('HTTP/2', 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
raw('HTTP/9.9', 505, "GET /v1/status/leader HTTP/9.9\r\nHost: x\r\n\r\n");
raw('no version', 400, "GET /v1/status/leader\r\n\r\n");
raw('no host', 400, "GET /v1/status/leader HTTP/1.1\r\n\r\n");
raw('TLS', 'closed', "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" . "\0" x 500 . "\r\n\r\n");
raw('a header of 2 MB', 431, "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\nX-A: " . 'a' x 2_000_000 . "\r\n\r\n");
raw('50,000 headers', 431, "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n" . join('', map { "X-$_: a\r\n" } 1 .. 50000) . "\r\n");
raw('a query of 2 MB', 414, 'GET /v1/kv/a?' . 'x=1&' x 500_000 . " HTTP/1.1\r\nHost: x\r\n\r\n");
is ask('GET', '/v1/kv/smuggled')->{status}, 404, 'nothing was stored of them';

# ---- mutations of good requests, seeded
{
	my $seed = $ENV{TEST_SEED} // 91;
	my @good = ("PUT /v1/kv/mutant HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
		"GET /v1/health/service/good?passing&index=1&wait=1ms HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
		"PUT /v1/txn HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2f\r\n[{\"KV\":{\"Verb\":\"get\",\"Key\":\"before\"}}]          \r\n0\r\n\r\n");

	srand $seed;
	for my $i (1 .. 400) {
		my $text = $good[rand @good];
		for (0 .. rand 3) {
			my $at = int rand length $text;
			my $how = int rand 3;
			if ($how == 0) { substr($text, $at, 1) = chr rand 256 }
			elsif ($how == 1) { substr($text, $at, rand 9) = '' }
			else { substr($text, $at, 0) = substr $text, rand length $text, rand 20 }
		}
		my $c = Raw->new($n);
		$c->send($text);
		shutdown $c->{s}, 1;
		$c->closed(0.02);
		$c->close;
	}
	ask('DELETE', '/v1/kv/mutant?recurse');
	pass "mutated requests (seed $seed)";
}

# ---- afterwards

is ask('GET', '/v1/kv/before?raw')->{body}, 'x', 'the node answers';
ask('DELETE', "/v1/kv/$_") for grep { $_ ne 'before' } @{$n->get_json('/v1/kv/?keys')};
is state(), $before, 'and knows what it knew';
is_deeply { $n->pids }, \%pids, 'no daemon has ended';
$n->stop;
is join("\n", grep { /Sanitizer|runtime error|work still open/ } split /\n/, $n->log_text . $n->err_text), '', 'a clean end';
done_testing;
