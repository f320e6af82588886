#!/usr/bin/perl
# /v1/kv, row by row.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use MIME::Base64;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new;
my $json = JSON::PP->new->allow_nonref;
my $r;

sub ask { return Raw->new($n)->ask(@_) }
sub put { my ($t, $b) = @_; my $x = ask('PUT', "/v1/kv/$t", {}, $b // ''); return "$x->{status} $x->{body}" }
sub get { my $x = ask('GET', "/v1/kv/$_[0]"); return $x->{status} == 200 ? $json->decode($x->{body}) : $x->{status} }
sub del { my $x = ask('DELETE', "/v1/kv/$_[0]"); return "$x->{status} $x->{body}" }

# ---- set and get
is put('a', 'hello'), '200 true', 'PUT';
$r = ask('GET', '/v1/kv/a');
like $r->{body}, qr/^\[\{"LockIndex":0,"Key":"a","Flags":0,"Value":"aGVsbG8=","CreateIndex":\d+,"ModifyIndex":\d+\}\]$/,
	'GET: always a list, fields in order, no Session, no newline';
my $e = get('a')->[0];
is $r->{headers}{'X-Consul-Index'}, $e->{ModifyIndex}, 'the index is the key\'s ModifyIndex';
is put('a', 'hello'), '200 true', 'the same again';
is get('a')->[0]{ModifyIndex}, $e->{ModifyIndex}, 'moves no index';
is put('empty'), '200 true', 'an empty value';
like ask('GET', '/v1/kv/empty')->{body}, qr/"Value":null/, 'is null';
is ask('GET', '/v1/kv/empty?raw')->{body}, '', 'and raw nothing';
is put('f?flags=18446744073709551615', 'x'), '200 true', 'flags of 64 bits';
like ask('GET', '/v1/kv/f')->{body}, qr/"Flags":18446744073709551615/, 'come back as a number';
is put('f?flags=x', 'x'), '500 strconv.ParseUint: parsing "x": invalid syntax', 'bad flags';
is put('f?flags=18446744073709551616', 'x'),
	'500 strconv.ParseUint: parsing "18446744073709551616": value out of range', 'too large ones';
is put(''), '400 Missing key name', 'PUT without a key';
$r = ask('GET', '/v1/kv/');
is "$r->{status} $r->{body}", '400 Missing key name', 'GET without a key';
is put('with%20blank%3Cand%3E%26%22', 'x'), '200 true', 'an odd key';
like ask('GET', '/v1/kv/with%20blank%3Cand%3E%26%22')->{body}, qr/"Key":"with blank\\u003cand\\u003e\\u0026\\""/, 'is escaped as Go does';
is put('dir/', 'x'), '200 true', 'a key that ends in a slash';
is get('dir/')->[0]{Key}, 'dir/', 'keeps it';

# ---- raw
$r = ask('GET', '/v1/kv/a?raw');
is $r->{body}, 'hello', '?raw';
is $r->{headers}{'Content-Type'}, 'text/plain', 'content type without charset';
is $r->{headers}{'X-Content-Type-Options'}, 'nosniff', 'nosniff';
is $r->{headers}{'Content-Security-Policy'}, 'sandbox', 'sandbox';
is $r->{headers}{'Content-Length'}, 5, 'length';
$r = ask('GET', '/v1/kv/none?raw');
is "$r->{status} [$r->{body}]", '404 []', 'raw of nothing';
like $r->{headers}{'X-Consul-Index'}, qr/^[1-9]/, 'has an index all the same';

# ---- nothing there
is get('none'), 404, 'GET of an absent key';
$r = ask('GET', '/v1/kv/none');
is $r->{body}, '', 'has no body';
like $r->{headers}{'X-Consul-Index'}, qr/^[1-9]/, 'but an index';
is get('none/?recurse'), 404, '?recurse of nothing';
is get('none/?keys'), 404, '?keys of nothing';

# ---- recurse and keys
put("t/$_", $_) for qw(b a/2 a/1 c/x/y);
is_deeply [map { $_->{Key} } @{get('t/?recurse')}], [qw(t/a/1 t/a/2 t/b t/c/x/y)], '?recurse, in order';
is_deeply get('t/?keys'), [qw(t/a/1 t/a/2 t/b t/c/x/y)], '?keys';
is_deeply get('t/?keys&separator=/'), [qw(t/a/ t/b t/c/)], 'cut at the separator, each once';
is_deeply get('t/?keys&seperator=/'), [qw(t/a/ t/b t/c/)], 'however it is spelt';
is_deeply get('t/?recurse&raw')->[0]{Value}, encode_base64('a/1', ''), 'raw is ignored with recurse';
ok scalar(@{get('?keys')}) > 4, '?keys of everything';

# ---- cas
is put('cas?cas=1', 'x'), '200 false', 'cas=N of an absent key';
is put('cas?cas=0', 'one'), '200 true', 'cas=0 creates';
is put('cas?cas=0', 'two'), '200 false', 'once';
my $index = get('cas')->[0]{ModifyIndex};
is put("cas?cas=$index", 'two'), '200 true', 'the right index';
is put("cas?cas=$index", 'three'), '200 false', 'is right once';
is put('cas?cas=x', ''), '500 strconv.ParseUint: parsing "x": invalid syntax', 'a bad one';
is put('cas?cas=1&acquire=a', ''), '400 Conflicting flags: acquire=a&cas=1', 'cas and acquire';
is put('cas?release=b&acquire=a', ''), '400 Conflicting flags: acquire=a&release=b', 'acquire and release';

# ---- delete
is del('cas?cas=1'), '200 false', 'DELETE with a wrong cas';
is del('cas?cas=0'), '200 false', 'cas=0 of a key that is there';
$index = get('cas')->[0]{ModifyIndex};
is del("cas?cas=$index"), '200 true', 'with the right one';
is del('cas?cas=5'), '200 true', 'cas of an absent key';
is del('none'), '200 true', 'DELETE of an absent key';
is del('a'), '200 true', 'DELETE';
is get('a'), 404, 'it is gone';
is del(''), '400 Missing key name', 'without a key';
is del('t/?recurse&cas=1'), '400 Conflicting flags: cas=1&recurse=', 'recurse and cas';
is del('t/?recurse'), '200 true', 'a whole prefix';
is get('t/?keys'), 404, 'is gone';
is del('?recurse'), '200 true', 'everything';
$r = ask('GET', '/v1/kv/?keys');
is "$r->{status} $r->{body}", '200 []', 'no keys at all is an empty list';

# ---- locks
$r = ask('PUT', '/v1/session/create', {}, '{"Name":"one","LockDelay":"0s"}');
my $one = $json->decode($r->{body})->{ID};
my $two = $json->decode(ask('PUT', '/v1/session/create', {}, '{"Name":"two"}')->{body})->{ID};
is put("lock?acquire=$one", 'held'), '200 true', 'acquire';
$e = get('lock')->[0];
is "$e->{Session} $e->{LockIndex}", "$one 1", 'session and lock index';
is put("lock?acquire=$one", 'again'), '200 true', 'the holder again';
is get('lock')->[0]{LockIndex}, 1, 'same lock index';
is put("lock?acquire=$two", 'mine'), '200 false', 'another one';
is put("lock?release=$two", ''), '200 false', 'release by another';
is put("lock?release=$one&flags=7", 'free'), '200 true', 'release';
$e = get('lock')->[0];
ok !exists $e->{Session}, 'no session';
is "$e->{LockIndex} $e->{Flags} " . decode_base64($e->{Value}), '1 7 free', 'value and flags are those of the release';
like put('lock?acquire=00000000-0000-0000-0000-000000000000', ''),
	qr/^500 .*invalid session "00000000-0000-0000-0000-000000000000"/, 'an unknown session';
like put('lock?acquire=nosuch', ''), qr/^500 .*UUID/, 'one that is no UUID';

$n->stop;
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error|work still open/, 'a clean end';
done_testing;
