#!/usr/bin/perl
# PUT /v1/txn
use strict;
use warnings;
use Test::More;
use JSON::PP;
use MIME::Base64;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new;
my $json = JSON::PP->new->canonical->allow_nonref;
my $r;

sub ask { return Raw->new($n)->ask(@_) }
sub txn { my ($ops, $q) = @_; return ask('PUT', '/v1/txn' . ($q // ''), {}, ref $ops ? $json->encode($ops) : $ops) }
sub kv { my ($verb, $key, %o) = @_; $o{Value} = encode_base64($o{Value}, '') if defined $o{Value}; return { KV => { Verb => $verb, Key => $key, %o } } }
sub what { my $x = $json->decode(txn($_[0])->{body}); return join '; ', map { "$_->{OpIndex} $_->{What}" } @{$x->{Errors} // []} }

# ---- writes
$r = txn([kv('set', 'a', Value => 'one', Flags => 7), kv('get', 'a')]);
is $r->{status}, 200, 'set and get';
like $r->{body}, qr/^\{"Results":\[\{"KV":\{"LockIndex":0,"Key":"a","Flags":7,"Value":null,"CreateIndex":(\d+),"ModifyIndex":\1\}\},\{"KV":\{"LockIndex":0,"Key":"a","Flags":7,"Value":"b25l","CreateIndex":\1,"ModifyIndex":\1\}\}\],"Errors":null\}$/,
	'a write shows no value, a get does; nothing but Results and Errors';
ok !exists $r->{headers}{'X-Consul-Knownleader'}, 'no headers of a read';
$r = txn([kv('set', 'b', Value => 'x'), kv('get', 'none'), kv('check-not-exists', 'a')]);
is $r->{status}, 409, 'a failing operation';
is_deeply $json->decode($r->{body}), { Results => undef, Errors => [{ OpIndex => 1, What => 'key "none" doesn\'t exist' },
	{ OpIndex => 2, What => 'key "a" exists' }] }, 'all failures are told';
is ask('GET', '/v1/kv/b')->{status}, 404, 'and nothing is done';
is what([kv('cas', 'a', Value => 'x', Index => 1)]), '0 failed to set key "a", index is stale', 'cas';
is what([kv('delete-cas', 'a', Index => 1)]), '0 failed to delete key "a", index is stale', 'delete-cas';
like what([kv('check-index', 'a', Index => 1)]), qr/^0 failed index check for key "a", current modify index \d+ != 1$/, 'check-index';
is what([kv('unlock', 'a', Session => '00000000-0000-0000-0000-000000000000')]),
	'0 failed to unlock key "a", lock isn\'t held, or is held by another session', 'unlock';
is what([kv('bogus', 'a')]), '0 unknown KV verb "bogus"', 'an unknown verb';
$r = txn([kv('set', 't/1', Value => '1'), kv('set', 't/2', Value => '2'), kv('delete', 'a'), kv('get-tree', 't/')]);
is scalar @{$json->decode($r->{body})->{Results}}, 4, 'a delete returns nothing, get-tree all below';
is ask('GET', '/v1/kv/a')->{status}, 404, 'deleted';
$r = txn([{ Node => { Verb => 'set', Node => { Node => 'ext', Address => '10.0.0.9' } } },
	{ Service => { Verb => 'set', Node => 'ext', Service => { ID => 's', Service => 'svc', Port => 9 } } },
	{ Check => { Verb => 'set', Check => { Node => 'ext', CheckID => 'c', Name => 'c', Status => 'passing', ServiceID => 's' } } }]);
is $r->{status}, 200, 'node, service and check';
is_deeply [map { keys %$_ } @{$json->decode($r->{body})->{Results}}], [qw(Node Service Check)], 'come back';
is $n->get_json('/v1/health/service/svc')->[0]{Checks}[0]{CheckID}, 'c', 'and are there';

# ---- reads
$r = txn([kv('get', 't/1'), kv('check-not-exists', 'a')], '?stale');
is $r->{status}, 200, 'a transaction that only reads';
is $r->{headers}{'X-Consul-Knownleader'}, 'true', 'has the headers of a read';
is $r->{headers}{'X-Consul-Lastcontact'}, '0', 'both';
like $r->{body}, qr/,"Errors":null,"Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":"","NotModified":false,"Backend":0\}$/,
	'and more in its body';
is txn([kv('get', 't/1')], '?stale&consistent')->{status}, 400, 'and its parameters';
is what([kv('get', 'none')]), '0 key "none" doesn\'t exist', 'a failing read';
is txn([kv('get', 'none')])->{status}, 409, 'is a conflict too';
is txn([{ Node => { Verb => 'get', Node => { Node => 'ext' } } }])->{headers}{'X-Consul-Knownleader'}, 'true', 'a node that is read';
is txn('[]')->{status}, 200, 'no operation at all';

# ---- limits and bad input
$r = txn([map { kv('get', "k$_") } 1 .. 65]);
is "$r->{status} $r->{body}", '413 Transaction contains too many operations (65 > 64)', '65 operations';
isnt txn([map { kv('set', "k$_", Value => 'x') } 1 .. 64])->{status}, 413, '64 are not too many';
is txn('x' x 524289)->{status}, 413, 'a body over the limit';
for ('{', '{}', '[{"KV":{"Verb":"set","Key":"a","Value":"%%%"}}]', '[{"KV":7}]', '["x"]', 'null x', "[\0]") {
	$r = txn($_);
	like "$r->{status} $r->{body}", qr/^400 Failed to parse body: ./, "not a transaction: $_" =~ s/\0/NUL/r;
}
like txn('[{"kv":{"VERB":"set","key":"low","value":"eA=="}}]')->{body}, qr/"Key":"low"/, 'names match whatever their case';

$n->stop;
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error|work still open/, 'a clean end';
done_testing;
