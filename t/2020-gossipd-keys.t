#!/usr/bin/perl
# Encryption: keys of each size, a wrong key, the key file, rotation, the switch from plain to sealed.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use MIME::Base64;
use Pool;
use Test::More;

sub key { return encode_base64(join('', map { chr int rand 256 } 1 .. $_[0]), '') }
sub keyring { my ($m, $verb, $key, %o) = @_; return $m->want('gossip.keyring', { Verb => $verb, defined $key ? (Key => $key) : (), %o }) }

# ---- each size
for my $size (16, 24, 32) {
	my $pool = Pool->new(slice => { encrypt => key($size) });
	my @n = $pool->form(2, server => 0);
	ok($pool->wait_members({ n1 => 1, n2 => 1 }), "a pool with a key of $size bytes");
	is($n[0]->info->{serf_lan}{encrypted}, 'true', 'is encrypted');
	is($n[0]->count('lan_dropped_' . $_), 0, "nothing was dropped: $_") for grep { s/^lan_dropped_// && /seal|plain/ } sort keys %{$n[0]->info->{gossipd}};
	$n[1]->stop('KILL');
	ok($pool->wait_members({ n1 => 1, n2 => 4 }, $n[0]), 'and notices a failure');
}

# ---- a server's two pools, the file, strangers
my ($k1, $k2, $k3) = map { key(32) } 1 .. 3;
my $pool = Pool->new(slice => { encrypt => $k1 });
my ($a, $b) = $pool->form(2);
ok($pool->wait_members({ n1 => 1, n2 => 1 }), 'two servers');
ok(Pool::until(sub { $a->sees({ 'n1.dc1' => 1, 'n2.dc1' => 1 }, 1) }), 'in the WAN too');
is(JSON::PP::decode_json($a->file("serf/$_.keyring"))->[0], $k1, "the key is in the file $_.keyring") for qw(local remote);
is((stat "$a->{dir}/serf/local.keyring")[2] & 0777, 0600, 'which is for its owner alone');

my $stranger = $pool->add(encrypt => $k2, server => 0);
my ($m, $r) = $stranger->ask('gossip.join', { Addrs => [$a->address] });
is($r->{Code}, 500, 'with another key nobody joins');
my $plain = $pool->add(encrypt => '', server => 0);
($m, $r) = $plain->ask('gossip.join', { Addrs => [$a->address] });
is($r->{Code}, 500, 'nor without one');
ok($a->sees({ n1 => 1, n2 => 1 }), 'the pool is as it was');
cmp_ok($a->count('lan_dropped_stream_malformed'), '>=', 2, 'and counts them');
($m, $r) = $b->ask('gossip.join', { Addrs => [$plain->address] });
is($r->{Code}, 500, 'nor the other way round');
for my $x ($stranger, $plain) {
	unlike($x->log, qr/runtime error|Sanitizer/, 'no harm done');
	$x->stop;
}
@{$pool->{members}} = ($a, $b);

# ---- rotation
my $list = keyring($a, 'list');
is_deeply([map { [$_->{WAN}, $_->{Datacenter}, $_->{Keys}, $_->{PrimaryKeys}, $_->{NumNodes}, $_->{NumResp}, $_->{NumErr}, $_->{Error}] } @$list],
	[[JSON::PP::true, 'dc1', { $k1 => 2 }, { $k1 => 2 }, 2, 2, 0, ''], [JSON::PP::false, 'dc1', { $k1 => 2 }, { $k1 => 2 }, 2, 2, 0, '']],
	'the list of keys, by pool, with how many have them');
is(scalar @{keyring($a, 'list', undef, LocalOnly => JSON::PP::true)}, 1, 'local-only asks the LAN alone');
$r = keyring($b, 'install', $k2);
is_deeply([map { [$_->{NumResp}, $_->{NumErr}, $_->{Error}] } @$r], [[2, 0, ''], [2, 0, '']], 'a key is installed everywhere');
is_deeply(keyring($a, 'list')->[1]{Keys}, { $k1 => 2, $k2 => 2 }, 'both are there');
ok(Pool::until(sub { $a->file('serf/local.keyring') =~ /\Q$k2/ && $a->file('serf/remote.keyring') =~ /\Q$k2/ }), 'in the files too');
$r = keyring($a, 'remove', $k1);
is_deeply([map { $_->{NumErr} } @$r], [2, 2], 'the primary key is not removed');
is_deeply($r->[1]{Messages}, { n1 => 'Removing the primary key is not allowed', n2 => 'Removing the primary key is not allowed' }, 'as each member says');
is($r->[1]{Error}, '2/2 nodes reported failure', 'and the sum of it');
is_deeply([map { $_->{NumErr} } @{keyring($a, 'use', $k3)}], [2, 2], 'nor is one used that is not there');
is_deeply([map { $_->{NumErr} } @{keyring($a, 'use', $k2)}], [0, 0], 'the other becomes the primary one');
is_deeply(keyring($a, 'list')->[1]{PrimaryKeys}, { $k2 => 2 }, 'everywhere');
is_deeply([map { $_->{NumErr} } @{keyring($a, 'remove', $k1)}], [0, 0], 'the old one is removed');
is_deeply(keyring($b, 'list')->[1]{Keys}, { $k2 => 2 }, 'everywhere');
is_deeply([$a->ask('gossip.keyring', { Verb => 'install', Key => 'short' })], [undef, { Code => 400, Text => 'the key is not base64 of 16, 24 or 32 bytes' }], 'what is no key');
is(($a->ask('gossip.keyring', { Verb => 'melt' }))[1]{Code}, 400, 'what is no operation');
is(($a->ask('gossip.keyring', { Verb => 'list', RelayFactor => 6 }))[1]{Code}, 400, 'a relay factor out of range');

# ---- the file wins
ok(Pool::until(sub { $b->file('serf/local.keyring') eq '' || JSON::PP::decode_json($b->file('serf/local.keyring'))->[0] eq $k2 }), 'the file has the new key first');
$b->restart;
ok($pool->wait_members({ n1 => 1, n2 => 1 }), 'a restart goes on with the keys of the file');
like($b->log, qr/LAN keyring exists but encrypt given, using keyring/, 'and warns that another one is configured');
$b->stop;
open my $f, '>', "$b->{dir}/serf/local.keyring";
print $f "[\"$k2\", ";
close $f;
unlink "$b->{dir}/gossipd.sock";
$b->spawn;
is($b->wait >> 8, 78, 'a damaged key file is no reason to go on without');
like($b->log, qr/cannot load the keyring: path=\S+ error="/, 'as is said');
@{$pool->{members}} = ($a);
is($a->stop >> 8, 0, 'ends with 0');
unlike($a->log . $b->log, qr/runtime error|Sanitizer/, 'nothing was wrong');

# ---- in memory only
my $mem = Pool->new(slice => { encrypt => $k1, disable_keyring_file => JSON::PP::true });
my ($x) = $mem->form(1);
is_deeply(keyring($x, 'install', $k2)->[1]{NumErr}, 0, 'disable_keyring_file: keys can be changed');
ok(!-e "$x->{dir}/serf/local.keyring", 'and are in no file');

# ---- without keys
my $none = Pool->new;
my ($y) = $none->form(1);
$r = keyring($y, 'list');
is_deeply($r->[1]{Messages}, { n1 => 'Keyring is empty (encryption not enabled)' }, 'without encryption there are no keys to list');
is($r->[1]{NumErr}, 1, 'which is an error');
is(keyring($y, 'install', $k1)->[0]{Messages}{'n1.dc1'}, 'Keyring is empty (encryption not enabled)', 'nor to install');

# ---- from plain to sealed, a step at a time
my ($no, $yes) = (JSON::PP::false, JSON::PP::true);
my $mix = Pool->new;
my ($p, $q) = $mix->form(2, server => 0);
ok($mix->wait_members({ n1 => 1, n2 => 1 }), 'a plain pool');
$p->restart(encrypt => $k1, encrypt_verify_incoming => $no, encrypt_verify_outgoing => $no);
ok($mix->wait_members({ n1 => 1, n2 => 1 }), 'one has a key, and neither seals nor wants it: they understand each other');
$q->restart(encrypt => $k1, encrypt_verify_incoming => $no, encrypt_verify_outgoing => $yes);
ok($mix->wait_members({ n1 => 1, n2 => 1 }), 'the other seals');
$q->restart(encrypt_verify_incoming => $yes);
$p->restart(encrypt_verify_incoming => $yes, encrypt_verify_outgoing => $yes);
ok($mix->wait_members({ n1 => 1, n2 => 1 }), 'all is sealed');
unlike($_->log, qr/runtime error|Sanitizer/, 'nothing was wrong') for $p, $q, $x, $y;

my $bad = $none->add(encrypt => 'no key', ready => 0);
is($bad->wait >> 8, 78, 'a key that is none is a failure to start');
like($bad->log, qr/encrypt is not a key of 16, 24 or 32 bytes in base64/, 'with a sentence');
pop @{$none->{members}};
done_testing;
