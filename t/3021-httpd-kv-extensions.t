#!/usr/bin/perl
# /v1/kv beyond Consul: ?ttl, ?touch, parts of lists, counts, fencing tokens.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use Time::HiRes qw(time sleep);
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new(config => { limits => { kv_max_value_size => 1000 } });
my $json = JSON::PP->new->allow_nonref;
my $r;

sub ask { return Raw->new($n)->ask(@_) }
sub put { my ($t, $b) = @_; my $x = ask('PUT', "/v1/kv/$t", {}, $b // ''); return "$x->{status} $x->{body}" }
sub get { my $x = ask('GET', "/v1/kv/$_[0]"); return $x->{status} == 200 ? $json->decode($x->{body}) : "$x->{status} $x->{body}" }
sub index_of { return ask('GET', "/v1/kv/$_[0]")->{headers}{'X-Consul-Index'} }

ok $n->wait_for(sub { @{ $n->get_json('/v1/health/state/passing') } }), 'the node is in the catalog';

# ---- a TTL
is put('t/a?ttl=2s', 'x'), '200 true', 'PUT with ?ttl';
my $e = get('t/a')->[0];
like $e->{ExpiresAt} // '', qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'the entry tells when it goes';
is get('t/a')->[0]{ExpiresAt}, $e->{ExpiresAt}, 'the same each time';
put('t/stays', 'x');
ok !exists get('t/stays')->[0]{ExpiresAt}, 'others tell nothing of it';
my $i = index_of('t/a');
my $watch = Raw->new($n);
$watch->send("GET /v1/kv/t/a?index=$i&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n");
my $began = time;
$r = $watch->reply(seconds => 30);
is $r->{status}, 404, 'who waits for the key is woken when it goes';
ok time - $began < 25, 'when it goes, not at the end of the wait';
ok $r->{headers}{'X-Consul-Index'} > $i, 'with a higher index';
is get('t/a'), '404 ', 'it is gone';
is_deeply get('t/?keys'), ['t/stays'], 'alone';

# ---- touch
is put('t/b?touch'), '200 false', 'touch of nothing';
is put('t/b?ttl=1h', 'x'), '200 true', 'an hour';
$e = get('t/b')->[0];
is put('t/b?touch&ttl=2h'), '200 true', 'two hours by touch';
my $f = get('t/b')->[0];
ok $f->{ExpiresAt} gt $e->{ExpiresAt}, 'are later';
is $f->{ModifyIndex}, $e->{ModifyIndex}, 'no index moves';
is $f->{Value}, $e->{Value}, 'the value is the same';
is put('t/b?touch'), '200 true', 'touch with the TTL it has';
is put('t/stays?touch'), '200 false', 'a key without one stays as it is';
is put('t/b', 'y'), '200 true', 'a plain PUT';
ok !exists get('t/b')->[0]{ExpiresAt}, 'ends the TTL';
is put("t/b?cas=" . get('t/b')->[0]{ModifyIndex} . '&ttl=1h', 'z'), '200 true', '?cas with ?ttl';
ok exists get('t/b')->[0]{ExpiresAt}, 'sets it';

# ---- what is refused
for (['t/x?ttl=0s', 'ttl of nothing'], ['t/x?ttl=999ms', 'too short'], ['t/x?ttl=87601h', 'too long'], ['t/x?ttl=-5s', 'negative'],
    ['t/x?ttl=10', 'without unit'], ['t/x?ttl=', 'empty'], ['t/x?ttl=x', 'no duration']) {
	is put($_->[0], 'x'), '400 Invalid ttl: it is a duration from 1s to ten years', $_->[1];
}
is put('t/x?ttl=5s&acquire=x', 'x'), '400 ttl does not go with acquire and release: what a session holds lasts as long as the session',
	'ttl and acquire';
is put('t/x?touch', 'x'), '400 touch keeps the value: it takes no body', 'touch with a body';
is put('t/x?touch&cas=1'), '400 Conflicting flags: cas=1&touch=', 'touch and cas';
is put('t/x?fencing', 'x'), '400 fencing goes with acquire', 'fencing alone';
is get('t/x'), '404 ', 'nothing was written';

# ---- a restart loses no deadline
is put('t/r?ttl=1h', 'x'), '200 true', 'an hour';
$e = get('t/r')->[0];
$n->stop;
$n->start;
$f = get('t/r')->[0];
is $f->{ModifyIndex}, $e->{ModifyIndex}, 'after a restart the key is there';
ok $f->{ExpiresAt} ge $e->{ExpiresAt}, 'and goes no earlier: time without a leader does not count';

# ---- parts of lists
put("l/$_", 'x') for qw(a b/1 b/2 c/d/e f);
is_deeply get('l/?keys&limit=2'), ['l/a', 'l/b/1'], '?limit';
is ask('GET', '/v1/kv/l/?keys&limit=2')->{headers}{'X-Consul-Truncated'}, 'true', 'says that there is more';
is_deeply get('l/?keys&limit=2&after=l/b/1'), ['l/b/2', 'l/c/d/e'], '?after';
is_deeply get('l/?keys&limit=5'), ['l/a', 'l/b/1', 'l/b/2', 'l/c/d/e', 'l/f'], 'all of it';
ok !exists ask('GET', '/v1/kv/l/?keys&limit=5')->{headers}{'X-Consul-Truncated'}, 'is not truncated';
is_deeply get('l/?keys&depth=1'), ['l/a', 'l/b/', 'l/c/', 'l/f'], '?depth';
is_deeply get('l/?keys&depth=2'), ['l/a', 'l/b/1', 'l/b/2', 'l/c/d/', 'l/f'], 'deeper';
is_deeply get('l/?keys&separator=/&limit=2&after=l/b/'), ['l/c/', 'l/f'], 'pages of cut names';
is_deeply [map { $_->{Key} } @{ get('l/?recurse&limit=2&after=l/b/2') }], ['l/c/d/e', 'l/f'], 'pages of entries';
is_deeply [map { $_->{Key} } @{ get('l/?recurse&depth=1') }], ['l/a', 'l/f'], 'entries of one level';
is_deeply get('l/?count'), { Count => 5 }, '?count';
is_deeply get('l/?keys&separator=/&count'), { Count => 4 }, 'of names';
is_deeply get('none/?count'), { Count => 0 }, 'of nothing';
is get('l/?keys&after=l/f'), '404 ', 'behind the last';
for my $p (qw(limit depth)) {
	is get("l/?keys&$p=$_"), "400 Invalid $p: it is not a number above 0", "$p=$_" for ('0', '-1', 'x', '', '99999999999999999999');
}
is get('l/a?limit=1'), '400 limit, after and depth go with keys, recurse or count', 'a limit for one key';
is get('l/?count&limit=1'), '400 count tells how many there are: limit and after do not go with it', 'count and limit';

# ---- they wait
$i = index_of('l/?count');
$watch = Raw->new($n);
$watch->send("GET /v1/kv/l/?count&index=$i&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n");
ok !defined $watch->reply(seconds => 0.3), 'a count waits';
put('l/a', 'other');
ok !defined $watch->reply(seconds => 0.3), 'a write that leaves it as it is does not wake it';
put('l/g', 'x');
is $watch->reply->{body}, '{"Count":6}', 'one more does';

# ---- fencing
my $s = $json->decode(ask('PUT', '/v1/session/create', {}, '{"LockDelay":"0s"}')->{body})->{ID};
my $s2 = $json->decode(ask('PUT', '/v1/session/create', {}, '{"LockDelay":"0s"}')->{body})->{ID};
$r = ask('PUT', "/v1/kv/lock?acquire=$s&fencing", {}, 'x');
is $r->{body}, 'true', 'acquired';
my $token = $r->{headers}{'X-Consul-Fencing-Token'};
like $token, qr/^[1-9]\d*$/, 'with a token';
$r = ask('PUT', "/v1/kv/lock?acquire=$s2&fencing", {}, 'x');
is "$r->{status} $r->{body}", '200 false', 'not acquired';
ok !exists $r->{headers}{'X-Consul-Fencing-Token'}, 'no token';
put('lock', 'plain');
$e = get('lock?fencing')->[0];
is "$e->{LockIndex} $e->{FencingToken}", "0 $token", 'a plain PUT resets LockIndex, not the token';
ok !exists get('lock')->[0]{FencingToken}, 'shown to who asks for it';
put("lock?release=$s");
$r = ask('PUT', "/v1/kv/lock?acquire=$s2&fencing", {}, 'x');
ok $r->{headers}{'X-Consul-Fencing-Token'} > $token, 'the next holder has a higher one';
ok !exists ask('PUT', "/v1/kv/lock2?acquire=$s2", {}, 'x')->{headers}{'X-Consul-Fencing-Token'}, 'who does not ask gets none';

# ---- values that are too large, whatever way they come
is ask('PUT', '/v1/kv/big', {}, 'x' x 1001)->{status}, 413, 'a declared body';
my $c = Raw->new($n);
$c->send("PUT /v1/kv/big HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" . ("1f4\r\n" . 'x' x 500 . "\r\n") x 3 . "0\r\n\r\n");
is $c->reply->{status}, 413, 'a chunked one';
is get('big'), '404 ', 'neither is there';

done_testing;
