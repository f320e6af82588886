#!/usr/bin/perl
# Routing, methods, headers, encodings and bodies: what holds for every endpoint.
use strict;
use warnings;
use Test::More;
use Compress::Zlib ();
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new;
my $r;

sub ask { return Raw->new($n)->ask(@_) }

# ---- routing
$r = ask('GET', '/');
is "$r->{status} $r->{body}", '200 Consul Agent', 'GET / without a UI';
$r = ask('GET', '/v1/nothing');
is $r->{status}, 404, 'an unknown path';
is $r->{body}, '', 'has an empty body';
$r = ask('PUT', '/v1/kv//lead?flags=1', {}, 'x');
is $r->{status}, 301, 'a double slash is redirected';
is $r->{headers}{Location}, '/v1/kv/lead?flags=1', 'to the clean path, query kept';
$r = ask('GET', '/v1/kv/a/../b');
is "$r->{status} $r->{headers}{Location}", '301 /v1/kv/b', 'dot segments too';
is $r->{body}, qq{<a href="/v1/kv/b">Moved Permanently</a>.\n\n}, 'a GET is told where';
$r = ask('GET', '/v1/kv/a%2f%2fb%20c');
is "$r->{status} $r->{headers}{Location}", '301 /v1/kv/a/b%20c', 'escaped ones as well';
$r = ask('GET', '/v1/kv');
is "$r->{status} $r->{headers}{Location}", '301 /v1/kv/', 'the prefix without its slash';
$r = ask('GET', '/v1/kv/a%00b');
is $r->{status}, 400, 'a NUL in a path';
$r = ask('GET', '/v1/kv/a%ffb');
is $r->{status}, 400, 'malformed UTF-8';
like $r->{body}, qr/^Bad request: the path holds a character/, 'is told in a sentence';
my $c = Raw->new($n);
$c->send("PUT /v1/kv/safe\0evil HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
is $c->reply->{status}, 400, 'a raw NUL in the first line';
is ask('GET', '/v1/kv/safe')->{status}, 404, 'stored nothing';
is ask('GET', '/v1/kv/a%zz')->{status}, 400, 'a malformed escape';
$r = ask('GET', '/v1/kv/a?x=%zz');
is "$r->{status} [$r->{body}]", '500 []', 'a malformed query';

# ---- methods
$r = ask('POST', '/v1/kv/a', {}, '');
is "$r->{status} $r->{body}", '405 method POST not allowed', 'a method that is not allowed';
is $r->{headers}{Allow}, 'OPTIONS,GET,PUT,DELETE', 'with what is';
$r = ask('DELETE', '/v1/session/create');
is $r->{headers}{Allow}, 'OPTIONS,PUT', 'for each endpoint its own';
$r = ask('HEAD', '/v1/kv/a');
is $r->{status}, 405, 'HEAD is not allowed';
$r = ask('OPTIONS', '/v1/catalog/nodes');
is "$r->{status} [$r->{body}] $r->{headers}{Allow}", '200 [] OPTIONS,GET', 'OPTIONS';

# ---- headers
ask('PUT', '/v1/kv/small', {}, 'x');
$r = ask('GET', '/v1/kv/small');
is $r->{headers}{'Content-Type'}, 'application/json', 'JSON is said to be so';
is $r->{headers}{Vary}, 'Accept-Encoding', 'Vary';
is $r->{headers}{'X-Consul-Default-Acl-Policy'}, 'allow', 'X-Consul-Default-Acl-Policy';
is $r->{headers}{'X-Consul-Knownleader'}, 'true', 'X-Consul-Knownleader';
is $r->{headers}{'X-Consul-Lastcontact'}, '0', 'X-Consul-Lastcontact';
is $r->{headers}{'X-Consul-Query-Backend'}, 'blocking-query', 'X-Consul-Query-Backend';
like $r->{headers}{'X-Consul-Index'}, qr/^[1-9]\d*$/, 'X-Consul-Index';
ok !exists $r->{headers}{'X-Consul-Effective-Consistency'}, 'no effective consistency on KV';
like $r->{headers}{Date}, qr/^\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$/, 'Date';
$r = ask('PUT', '/v1/agent/service/deregister/none');
is "$r->{status} [$r->{body}]", '200 []', 'endpoints that return nothing';
ok !exists $r->{headers}{'Content-Type'}, 'have no content type';
$r = ask('GET', '/v1/kv/small?index=x');
is $r->{headers}{'Content-Type'}, 'text/plain; charset=utf-8', 'errors are text';

# ---- pretty
unlike ask('GET', '/v1/kv/small')->{body}, qr/\s/, 'compact by default, no newline';
like ask('GET', '/v1/kv/small?pretty')->{body}, qr/^\[\n    \{\n        "LockIndex": 0,\n.*\n    \}\n\]\n\z/s, '?pretty';
is ask('PUT', '/v1/kv/small?pretty', {}, 'x')->{body}, "true\n", '?pretty of a bool';

# ---- gzip
my $long = 'abcdefghij' x 200;
ask('PUT', '/v1/kv/long', {}, $long);
$r = ask('GET', '/v1/kv/long', { 'Accept-Encoding' => 'gzip' });
is $r->{headers}{'Content-Encoding'}, 'gzip', 'a long body is compressed when asked for';
like Compress::Zlib::memGunzip($r->{body}), qr/^\[\{"LockIndex":0,"Key":"long"/, 'and is what it was';
$r = ask('GET', '/v1/kv/long?raw', { 'Accept-Encoding' => 'deflate, gzip;q=1.0' });
is Compress::Zlib::memGunzip($r->{body}), $long, 'raw values too';
$r = ask('GET', '/v1/kv/small', { 'Accept-Encoding' => 'gzip' });
ok !exists $r->{headers}{'Content-Encoding'}, 'a short one is not';
is $r->{headers}{Vary}, 'Accept-Encoding', 'Vary is there all the same';
ok !exists ask('GET', '/v1/kv/long', { 'Accept-Encoding' => 'gzip;q=0' })->{headers}{'Content-Encoding'}, 'gzip;q=0';
ok !exists ask('GET', '/v1/kv/long')->{headers}{'Content-Encoding'}, 'nor without asking';

# ---- connections
$c = Raw->new($n);
is $c->ask('GET', '/v1/kv/small')->{status}, 200, 'keep-alive: first';
is $c->ask('PUT', '/v1/kv/small', {}, 'y')->{body}, 'true', 'second, with a body';
is $c->ask('GET', '/v1/nothing')->{status}, 404, 'an unknown path keeps the connection';
is $c->ask('POST', '/v1/kv/small', {}, 'zzz')->{status}, 405, 'a refused body too';
is $c->ask('GET', '/v1/kv/small?raw')->{body}, 'y', 'last';
$c->send("GET /v1/kv/small?raw HTTP/1.1\r\nHost: x\r\n\r\n" x 3);
is join('', map { $c->reply->{body} } 1 .. 3), 'yyy', 'three pipelined requests';
$c->send("GET /v1/kv/small?raw HTTP/1.0\r\n\r\n");
is $c->reply->{body}, 'y', 'HTTP/1.0';
ok $c->closed, 'closes';
$c = Raw->new($n);
$c->send("GET /v1/kv/sma");
select undef, undef, undef, 0.05;
$c->send("ll?raw HTTP/1.1\r\nHo");
select undef, undef, undef, 0.05;
$c->send("st: x\r\n\r\n");
is $c->reply->{body}, 'y', 'a request in pieces';
$c = Raw->new($n);
$c->send("nonsense\r\n\r\n");
my $bad = $c->reply(seconds => 5);
ok !defined $bad || $bad->{status} == 400, 'nonsense is refused';
ok $c->closed, 'and the connection closed';
$r = ask('GET', '/v1/kv/' . 'k' x 12000);
is $r->{status}, 404, 'a key of 12,000 bytes';
$c = Raw->new($n);
$c->send('GET /v1/kv/' . 'k' x 2_000_000 . " HTTP/1.1\r\nHost: x\r\n\r\n");
$r = $c->reply(seconds => 10);
ok !defined $r || $r->{status} == 414 || $r->{status} == 431, 'one of two million is refused';
is ask('GET', '/v1/kv/small?raw')->{body}, 'y', 'others do not notice';

# ---- bodies
my $max = 524288;
is ask('PUT', '/v1/kv/big', {}, 'b' x $max)->{body}, 'true', '512 KiB are stored';
is length(ask('GET', '/v1/kv/big?raw')->{body}), $max, 'and come back';
$r = ask('PUT', '/v1/kv/big', {}, 'c' x ($max + 1));
is $r->{status}, 413, 'one byte more is refused';
is $r->{body}, 'Request body(524289 bytes) too large, max size: 524288 bytes. ' .
	'See https://www.consul.io/docs/agent/options.html#kv_max_value_size.', 'with both sizes';
$c = Raw->new($n);
$c->send("PUT /v1/kv/big HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n");
is $c->reply(continue => 1)->{status}, 413, 'a client that waits for 100 Continue is told at once';
$c = Raw->new($n);
$c->send("PUT /v1/kv/small HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n");
is $c->reply(continue => 1)->{status}, 100, 'or to go on';
$c->send('e');
is $c->reply->{body}, 'true', 'and is served';
$c = Raw->new($n);
$c->send("PUT /v1/kv/chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
is $c->reply->{body}, 'true', 'a chunked body';
is ask('GET', '/v1/kv/chunked?raw')->{body}, 'abcde', 'arrives whole';
$c = Raw->new($n);
$c->send("PUT /v1/kv/chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
$c->send(sprintf("%x\r\n", 65536) . 'x' x 65536 . "\r\n") for 1 .. 9;
$c->send("0\r\n\r\n");
is $c->reply->{status}, 413, 'a chunked one is bounded as well';
is ask('GET', '/v1/kv/chunked?raw')->{body}, 'abcde', 'nothing was stored';
$c = Raw->new($n);
$c->send("PUT /v1/kv/chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
my $sent = 0;
$sent++ while $sent < 1000 && $c->send(sprintf("%x\r\n", 65536) . 'x' x 65536 . "\r\n");
ok $sent < 1000, 'one without end is cut off';
$r = ask('PUT', '/v1/session/create', {}, '{"Name": "' . 'x' x 2_000_000 . '"}');
is $r->{status}, 413, 'JSON bodies are bounded too';
is ask('PUT', '/v1/kv/binary', {}, join('', map { chr } 0 .. 255))->{body}, 'true', 'any bytes are a value';
is ask('GET', '/v1/kv/binary?raw')->{body}, join('', map { chr } 0 .. 255), 'and come back as they were';
is ask('GET', '/v1/acl/tokens')->{status}, 401, 'ACL endpoints';
is ask('GET', '/v1/acl/tokens')->{body}, 'ACL support disabled', 'say that ACLs are off';

$n->stop;
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error|work still open/, 'a clean end';
done_testing;
