#!/usr/bin/perl
# Transactions: get-or-empty, copy, move, increment, and their number as configuration.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use MIME::Base64;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new(config => { limits => { txn_max_ops => 100, txn_max_req_len => 100_000, kv_max_value_size => 1000 } });
my $json = JSON::PP->new->allow_nonref->canonical;
my $r;

sub ask { return Raw->new($n)->ask(@_) }
sub value { my $x = ask('GET', "/v1/kv/$_[0]?raw"); return $x->{status} == 200 ? $x->{body} : $x->{status} }
sub txn { $r = ask('PUT', '/v1/txn', {}, $json->encode([map { { KV => $_ } } @_])); return $r->{status} == 413 ? $r->{body} : $json->decode($r->{body}) }
sub b64 { return encode_base64($_[0], '') }
sub what { return $_[0]{Errors}[0]{What} }

ok $n->wait_for(sub { @{ $n->get_json('/v1/health/state/passing') } }), 'the node is in the catalog';

# ---- get-or-empty: as of Consul 1.16
my $t = txn({ Verb => 'get-or-empty', Key => 'none' });
is $r->{status}, 200, 'get-or-empty of nothing is no error';
is_deeply $t->{Results}[0]{KV}, { LockIndex => 0, Key => 'none', Flags => 0, Value => undef, CreateIndex => 0, ModifyIndex => 0 }, 'but an empty entry';
ok exists $t->{Index}, 'it is a read';
ask('PUT', '/v1/kv/a?flags=5', {}, 'hello');
is txn({ Verb => 'get-or-empty', Key => 'a' })->{Results}[0]{KV}{Value}, b64('hello'), 'of a key it is a get';
is what(txn({ Verb => 'get', Key => 'none' })), 'key "none" doesn\'t exist', 'get still is one';

# ---- copy and move
$t = txn({ Verb => 'copy', Key => 'a', Dest => 'b/c' });
is $r->{status}, 200, 'copy';
is $t->{Results}[0]{KV}{Key}, 'b/c', 'tells of the copy';
is value('b/c'), 'hello', 'which is there';
is $json->decode(ask('GET', '/v1/kv/b/c')->{body})->[0]{Flags}, 5, 'with its flags';
txn({ Verb => 'move', Key => 'b/c', Dest => 'd' }, { Verb => 'move', Key => 'd', Dest => 'e' });
is $r->{status}, 200, 'moved, and moved on';
is join(' ', map { value($_) } qw(b/c d e)), '404 404 hello', 'it is where it went';
$t = txn({ Verb => 'move', Key => 'e', Dest => 'f' }, { Verb => 'check-index', Key => 'a', Index => 1 });
is "$r->{status} " . value('e') . ' ' . value('f'), '409 hello 404', 'as a whole or not at all';
is what(txn({ Verb => 'copy', Key => 'none', Dest => 'x' })), 'key "none" doesn\'t exist', 'copy of nothing';
is what(txn({ Verb => 'copy', Key => 'a' })), 'copy needs a destination key in Dest', 'copy to nowhere';
is what(txn({ Verb => 'move', Key => 'a', Dest => 'a' })), 'failed to move key "a" onto itself', 'move onto itself';
my $s = $json->decode(ask('PUT', '/v1/session/create', {}, '')->{body})->{ID};
ask('PUT', "/v1/kv/locked?acquire=$s", {}, 'x');
is what(txn({ Verb => 'move', Key => 'locked', Dest => 'x' })), 'failed to move key "locked", it is locked', 'a lock is not carried off';

# ---- increment
$t = txn({ Verb => 'increment', Key => 'n' });
is $t->{Results}[0]{KV}{Value}, b64('1'), 'an absent key counts from 0, and the result tells the number';
is txn({ Verb => 'increment', Key => 'n', Value => b64('41') })->{Results}[0]{KV}{Value}, b64('42'), 'by Value';
is txn({ Verb => 'increment', Key => 'n', Value => b64('-50') })->{Results}[0]{KV}{Value}, b64('-8'), 'down';
is value('n'), '-8', 'it is stored as text';
is what(txn({ Verb => 'increment', Key => 'a' })), 'failed to increment key "a", it does not hold a decimal number', 'a text';
is what(txn({ Verb => 'increment', Key => 'n', Value => b64('1.5') })), 'failed to increment key "n", Value is not a decimal number', 'by half';
ask('PUT', '/v1/kv/max', {}, '9223372036854775807');
is what(txn({ Verb => 'increment', Key => 'max' })), 'failed to increment key "max", the number is too large', 'too large';
is value('max'), '9223372036854775807', 'it stays';
txn(map { { Verb => 'increment', Key => 'many' } } 1 .. 100);
is value('many'), 100, 'a hundred times in one';

# ---- limits
is txn(map { { Verb => 'get-or-empty', Key => 'n' } } 1 .. 101), 'Transaction contains too many operations (101 > 100)', 'limits.txn_max_ops';
like txn({ Verb => 'set', Key => 'v', Value => b64('x' x 1001) }), qr/^Value for key "v" is too large \(1001 > 1000 bytes\)$/, 'limits.kv_max_value_size';
my $large = '[' . ' ' x 100_000 . ']';
is ask('PUT', '/v1/txn', {}, $large)->{status}, 413, 'limits.txn_max_req_len';
my $c = Raw->new($n);
$c->send("PUT /v1/txn HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" . sprintf("%x\r\n%s\r\n0\r\n\r\n", length $large, $large));
is $c->reply->{status}, 413, 'in chunks too';
is ask('PUT', '/v1/txn', {}, '[' . ' ' x 99_990 . ']')->{status}, 200, 'just below';

done_testing;
