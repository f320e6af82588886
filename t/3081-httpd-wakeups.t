#!/usr/bin/perl
# What wakes a blocking query and what does not: each row of the rules on indexes.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use Time::HiRes qw(time sleep);
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new(config => { session_ttl_min => '1s' });
my $json = JSON::PP->new->allow_nonref->canonical;

sub ask { return Raw->new($n)->ask(@_) }
sub put { my ($p, $b) = @_; my $x = ask('PUT', "/v1/$p", {}, ref $b ? $json->encode($b) : $b // ''); die "$p: $x->{status} $x->{body}" if $x->{status} != 200; return $x->{body} }
sub index_of { return ask('GET', "/v1/$_[0]")->{headers}{'X-Consul-Index'} }
sub begin
{
	my ($p) = @_;
	my $i = index_of($p);
	my $c = Raw->new($n);

	$c->send("GET /v1/$p" . ($p =~ /\?/ ? '&' : '?') . "index=$i&wait=120s HTTP/1.1\r\nHost: x\r\n\r\n");
	return [$c, $p, $i];
}
sub parked { return $n->get_json('/v1/agent/self')->{Stats}{httpd}{blocking_queries} }

# Waits for $path; @quiet are done and must not wake it, then @loud, which must.
sub row
{
	my ($name, $path, $quiet, $loud) = @_;
	my $w = begin($path);
	my ($c, undef, $i) = @$w;

	ok $n->wait_for(sub { parked() == 1 }), "$name: waits";
	$_->() for @$quiet;
	# What is written behind it is seen before the answer would come.
	put('kv/elsewhere/tick', time);
	ok !defined $c->reply(seconds => 0.3), "$name: not woken" if @$quiet;
	$loud->();
	my $r = $c->reply(seconds => 30);
	ok defined $r && $r->{headers}{'X-Consul-Index'} > $i, "$name: woken, with a higher index";
	$c->close;
	ok $n->wait_for(sub { parked() == 0 }), "$name: nobody waits";
	return;
}

sub reg { my ($h) = @_; return sub { put('catalog/register', $h) } }
sub kv { my ($k, $v) = @_; return sub { put("kv/$k", $v) } }
sub del { my ($k) = @_; return sub { ask('DELETE', "/v1/kv/$k") } }
sub svc { my ($node, $name, %o) = @_; return reg({ Node => $node, Address => '127.0.0.1', SkipNodeUpdate => JSON::PP::true, Service => { Service => $name, ID => $name, %o } }) }
sub check { my ($node, $id, $status, %o) = @_; return reg({ Node => $node, Address => '127.0.0.1', SkipNodeUpdate => JSON::PP::true, Check => { CheckID => $id, Name => $id, Status => $status, %o } }) }

ok $n->wait_for(sub { @{ $n->get_json('/v1/health/state/passing') } }), 'the node is in the catalog';
reg({ Node => 'n1', Address => '10.0.0.1' })->();
reg({ Node => 'n2', Address => '10.0.0.2' })->();
svc('n1', 'web')->();
svc('n2', 'db')->();
check('n1', 'c1', 'passing')->();
check('n2', 'c2', 'passing')->();
put('kv/p/1', 'x');
put('kv/p/2', 'x');
put('kv/q', 'x');

# ---- KV
row 'a key', 'kv/p/1', [kv('p/2', 'y'), kv('q', 'y'), kv('p/1', 'x')], kv('p/1', 'y');
row 'a key that goes', 'kv/p/1', [del('p/2')], del('p/1');
row 'an absent key', 'kv/absent', [kv('q', 'z'), kv('absent2', 'x')], kv('absent', 'x');
row 'a prefix', 'kv/p/?recurse', [kv('q', 'a'), kv('pp', 'x')], kv('p/3', 'x');
row 'a prefix loses a key', 'kv/p/?recurse', [del('q')], del('p/3');
row 'a prefix with nothing below', 'kv/none/?recurse', [kv('q', 'b'), del('q')], kv('none/1', 'x');
row 'keys of a prefix', 'kv/none/?keys', [kv('none/1', 'y'), kv('q', 'c')], kv('none/2', 'x');
row 'cut keys', 'kv/?keys&separator=/', [kv('none/3', 'x'), del('none/3')], kv('top', 'x');
row 'raw', 'kv/q?raw', [kv('top', 'y')], kv('q', 'd');

# ---- services
row 'catalog/service', 'catalog/service/web', [svc('n2', 'db', Port => 1), svc('n1', 'other'), kv('q', 'e'), svc('n1', 'web')], svc('n1', 'web', Port => 1);
row 'health/service', 'health/service/web', [svc('n2', 'db', Port => 2), check('n2', 'c2', 'warning')], check('n1', 'c1', 'warning');
row 'health/service, its node', 'health/service/web', [reg({ Node => 'n2', Address => '10.0.0.22' })], reg({ Node => 'n1', Address => '10.0.0.11' });
row 'a service without instances', 'health/service/later', [svc('n1', 'more'), check('n1', 'c1', 'passing')], svc('n1', 'later');
row 'its last instance goes', 'catalog/service/later', [svc('n1', 'more2')], sub { put('catalog/deregister', { Node => 'n1', ServiceID => 'later' }) };
row 'catalog/services', 'catalog/services', [svc('n1', 'web', Port => 5), kv('q', 'f'), check('n1', 'c1', 'warning')], svc('n1', 'web', Port => 5, Tags => ['t']);
check('n1', 'c1', 'passing')->();
row 'a passing service', 'health/service/web?passing', [svc('n2', 'db', Port => 3), kv('q', 'g')], check('n1', 'c1', 'critical');
row 'a filtered service', 'health/service/web?filter=Service.Port==5', [check('n2', 'c2', 'critical')], check('n1', 'c1', 'passing');

# ---- nodes
row 'catalog/nodes', 'catalog/nodes', [svc('n1', 'web', Port => 7), check('n1', 'c1', 'warning'), kv('q', 'h')], reg({ Node => 'n3', Address => '10.0.0.3' });
row 'catalog/node', 'catalog/node/n1', [svc('n2', 'db', Port => 4), reg({ Node => 'n3', Address => '10.0.0.33' }), kv('q', 'i')], svc('n1', 'web', Port => 8);
row 'an unknown node', 'catalog/node/n9', [reg({ Node => 'n3', Address => '10.0.0.34' })], reg({ Node => 'n9', Address => '10.0.0.9' });
row 'node-services', 'catalog/node-services/n1', [svc('n2', 'db', Port => 5)], svc('n1', 'web', Port => 9);
row 'health/node', 'health/node/n1', [check('n2', 'c2', 'passing'), svc('n2', 'db', Port => 6)], check('n1', 'c1', 'passing');
row 'health/checks', 'health/checks/web', [check('n2', 'c2', 'warning'), check('n1', 'c1', 'warning')], check('n1', 'w', 'passing', ServiceID => 'web');
row 'health/state', 'health/state/critical', [check('n1', 'c1', 'passing'), svc('n1', 'web', Port => 10), kv('q', 'j')], check('n1', 'c1', 'critical');

# ---- sessions
my $s = $json->decode(put('session/create', '{"LockDelay":"0s"}'))->{ID};
my $other;
row 'session/info', "session/info/$s", [sub { $other = $json->decode(put('session/create', ''))->{ID} }, kv('q', 'k'), sub { put("session/renew/$s") }], sub { put("session/destroy/$s") };
row 'session/list', 'session/list', [kv('q', 'l')], sub { put("session/destroy/$other") };
row 'session/node', 'session/node/node1', [svc('n1', 'web', Port => 11)], sub { $other = $json->decode(put('session/create', ''))->{ID} };
row 'a key whose holder goes', 'kv/held', [kv('q', 'm')], sub { put("kv/held?acquire=$other", 'x') };
row 'released by its session', 'kv/held', [kv('q', 'n')], sub { put("session/destroy/$other") };

# ---- a timeout after others' writes gives a full answer
my $i = index_of('kv/none9/?recurse');
my $t = time;
my $c = Raw->new($n);
$c->send("GET /v1/kv/none9/?recurse&index=$i&wait=1s HTTP/1.1\r\nHost: x\r\n\r\n");
ok $n->wait_for(sub { parked() == 1 }), 'waits';
put('kv/q', 'o');
my $r = $c->reply;
is $r->{status}, 404, 'after its time: still nothing';
ok time - $t >= 1, 'not before';
ok $r->{headers}{'X-Consul-Index'} > $i, 'the index is that of the table now';

# ---- many keys: those that nobody writes cost nothing
my @all = map { my $k = Raw->new($n); $k->send("GET /v1/kv/many/$_?index=" . index_of("kv/many/$_") . "&wait=120s HTTP/1.1\r\nHost: x\r\n\r\n"); $k } 1 .. 100;
ok $n->wait_for(sub { parked() == 100 }), 'a hundred wait for a hundred keys';
put('kv/many/50', 'x');
is $all[49]->reply->{status}, 200, 'one is written and woken';
is parked(), 99, 'alone';
is scalar(grep { defined $_->reply(seconds => 0.01) } @all[0 .. 48, 50 .. 99]), 0, 'nobody else was';

done_testing;
