#!/usr/bin/perl
# Sessions that end when they say: TTLExact, and TTLs below ten seconds.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use Time::HiRes qw(time sleep);
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new(config => { session_ttl_min => '1s' });
my $json = JSON::PP->new->allow_nonref;

sub ask { return Raw->new($n)->ask(@_) }
sub create { my $x = ask('PUT', '/v1/session/create', {}, $_[0]); return $x->{status} == 200 ? $json->decode($x->{body})->{ID} : "$x->{status} $x->{body}" }
sub info { return $json->decode(ask('GET', "/v1/session/info/$_[0]")->{body}) }
# When it has ended, after so many seconds; 0: it has not within 30.
sub ends { my ($id, $began) = @_; return $n->wait_for(sub { !@{ info($id) } }) ? time - $began : 0 }

ok $n->wait_for(sub { @{ $n->get_json('/v1/health/state/passing') } }), 'the node is in the catalog';

my $began = time;
my $exact = create('{"TTL":"2s","TTLExact":true,"LockDelay":"0s"}');
my $twice = create('{"TTL":"2s","LockDelay":"0s"}');
ok info($exact)->[0]{TTLExact}, 'a session shows that it is exact';
ok !exists info($twice)->[0]{TTLExact}, 'others show nothing';
my $took = ends($exact, $began);
cmp_ok $took, '>=', 2, 'it lasts as long as its TTL';
is scalar @{ info($twice) }, 1, 'and is gone while an ordinary one of the same TTL lives';
cmp_ok ends($twice, $began), '>=', 4, 'for twice its TTL';

# ---- renewed
$exact = create('{"TTL":"6s","TTLExact":true}');
my $last;
for (1 .. 3) {
	sleep 2.5;
	$last = time;
	is ask('PUT', "/v1/session/renew/$exact")->{status}, 200, 'renewed';
}
is scalar @{ info($exact) }, 1, 'a session that is renewed lives on';
cmp_ok ends($exact, $last), '>=', 6, 'its TTL beyond the last renewal';

# ---- the key that it held goes with it
my $holder = create('{"TTL":"1s","TTLExact":true,"Behavior":"delete"}');
is ask('PUT', "/v1/kv/held?acquire=$holder", {}, 'x')->{body}, 'true', 'a key is held';
ok $n->wait_for(sub { ask('GET', '/v1/kv/held')->{status} == 404 }), 'and is gone when the session is';

# ---- what is refused
like create('{"TTL":"999ms","TTLExact":true}'), qr/^500 Invalid Session TTL '999000000', must be between \[1s=24h0m0s\]$/, 'below session_ttl_min';
like create('{"TTLExact":true}'), qr/^500 TTLExact needs a TTL$/, 'exact without a TTL';
like create('{"TTL":"10s","TTLExact":"yes"}'), qr/^(400|500) /, 'not a bool';

done_testing;
