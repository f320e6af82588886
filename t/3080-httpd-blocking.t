#!/usr/bin/perl
# Blocking queries: woken, timed out, shared, left.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use Time::HiRes qw(time sleep);
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new;
my $json = JSON::PP->new->allow_nonref;
my ($r, $t);

sub ask { return Raw->new($n)->ask(@_) }
sub put { return ask('PUT', "/v1/kv/$_[0]", {}, $_[1])->{body} }
sub index_of { return ask('GET', $_[0])->{headers}{'X-Consul-Index'} }
sub begin { my ($target) = @_; my $c = Raw->new($n); $c->send("GET $target HTTP/1.1\r\nHost: x\r\n\r\n"); return $c }
sub parked { my $s = $n->get_json('/v1/agent/self')->{Stats}{httpd}; return "$s->{blocking_queries} $s->{blocking_upstream}" }
sub wait_parked { my ($want) = @_; $n->wait_for(sub { parked() eq $want }) or diag parked(); return parked() eq $want }

put('a', 1);
put('b', 1);
my $i = index_of('/v1/kv/a');

# ---- woken
my $c = begin("/v1/kv/a?index=$i");
ok wait_parked('1 1'), 'a query waits';
ok !defined $c->reply(seconds => 0.2), 'without an answer';
put('b', 2);
ok !defined $c->reply(seconds => 0.2), 'another key does not wake it';
put('a', 2);
$r = $c->reply;
is $json->decode($r->{body})->[0]{Value}, 'Mg==', 'a write wakes it';
ok $r->{headers}{'X-Consul-Index'} > $i, 'with a higher index';
is $r->{headers}{'X-Consul-Knownleader'}, 'true', 'and all headers';
is parked(), '0 0', 'nobody waits';
is $c->ask('GET', '/v1/kv/a?raw')->{body}, '2', 'the connection goes on';

# ---- many wait for the same: one question
$i = index_of('/v1/kv/a');
my @all = map { begin("/v1/kv/a?index=$i&wait=60s") } 1 .. 20;
push @all, begin("/v1/kv/a?wait=50s&index=$i&pretty");
push @all, begin("/v1/kv/a?index=$i&stale");
ok wait_parked('22 2'), '21 equal waits are one question; another consistency is another';
put('a', 3);
my @bodies = map { $_->reply->{body} } @all;
is scalar(grep { /"Value": ?"Mw=="/ } @bodies), 22, 'all are woken';
is scalar(grep { /\n/ } @bodies), 1, 'each is shown it as asked';

# ---- time
$i = index_of('/v1/kv/a');
$t = time;
$r = ask('GET', "/v1/kv/a?index=$i&wait=1s");
my $took = time - $t;
is "$r->{status} $r->{headers}{'X-Consul-Index'}", "200 $i", 'after its time: the same index, the whole body';
is $json->decode($r->{body})->[0]{Value}, 'Mw==', 'the whole body';
ok $took >= 1 && $took < 2.5, 'after the wait and up to a sixteenth more';
$r = ask('GET', '/v1/kv/a?index=' . ($i + 1000) . '&wait=200ms');
is $r->{headers}{'X-Consul-Index'}, $i, 'an index from the future waits, and gets the lower one';
$r = ask('GET', '/v1/kv/absent?index=' . index_of('/v1/kv/absent') . '&wait=100ms');
is $r->{status}, 404, 'an absent key is still absent';
$t = time;
is ask('GET', "/v1/kv/a?index=1&wait=20s")->{status}, 200, 'an old index is answered at once';
ok time - $t < 10, 'at once';

# ---- gone clients
$i = index_of('/v1/kv/a');
@all = map { begin("/v1/kv/a?index=$i") } 1 .. 3;
ok wait_parked('3 1'), 'three wait';
$all[0]->close;
ok wait_parked('2 1'), 'one hangs up';
shutdown $all[1]{s}, 1;
ok wait_parked('1 1'), 'one half-closes, which counts as gone';
$all[2]->close;
ok wait_parked('0 0'), 'the last one takes the question along';
ok $n->wait_for(sub { my $s = $n->get_json('/v1/agent/self')->{Stats}{httpd}; return $s->{http_connections} <= 2 }), 'their connections are closed';

# ---- other endpoints
for (["/v1/kv/?recurse", sub { put('new', time) }], ['/v1/catalog/services', sub { ask('PUT', '/v1/agent/service/register', {}, '{"Name":"w","Port":1}') }],
    ['/v1/health/service/w?passing', sub { ask('PUT', '/v1/agent/service/maintenance/w?enable=true') }],
    ['/v1/session/list', sub { ask('PUT', '/v1/session/create') }],
    ['/v1/catalog/nodes', sub { ask('PUT', '/v1/catalog/register', {}, '{"Node":"e","Address":"1.2.3.4"}') }]) {
	my ($target, $change) = @$_;
	my $at = index_of($target);
	my $w = begin($target . ($target =~ /\?/ ? '&' : '?') . "index=$at&wait=120s");
	wait_parked('1 1');
	$change->();
	my $x = $w->reply;
	ok $x && $x->{headers}{'X-Consul-Index'} > $at, "$target is woken";
}
is ask('GET', '/v1/health/service/w?passing')->{body}, '[]', 'what hides itself wakes too';

# ---- by hash
ask('PUT', '/v1/agent/service/maintenance/w?enable=false');
my $hash = ask('GET', '/v1/agent/service/w')->{headers}{'X-Consul-Contenthash'};
$t = time;
$r = ask('GET', "/v1/agent/service/w?hash=$hash&wait=300ms");
ok time - $t >= 0.3, 'a service waits while its hash is the same';
is $r->{headers}{'X-Consul-Contenthash'}, $hash, 'and is shown then';
$c = begin("/v1/agent/service/w?hash=$hash&wait=30s");
wait_parked('1 1');
ask('PUT', '/v1/agent/service/register', {}, '{"Name":"w","Port":2}');
$r = $c->reply;
is $json->decode($r->{body})->{Port}, 2, 'a change wakes it';
isnt $r->{headers}{'X-Consul-Contenthash'}, $hash, 'with another hash';
is ask('GET', '/v1/agent/service/w?hash=old&wait=30s')->{status}, 200, 'another hash does not wait';

# ---- the end does not wait for those who wait
$i = index_of('/v1/kv/a');
@all = map { begin("/v1/kv/a?index=$i") } 1 .. 5;
wait_parked('5 1');
$t = time;
$n->stop;
ok time - $t < 5, 'a stop lets the waiting ones go';
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error|work still open/, 'a clean end';
done_testing;
