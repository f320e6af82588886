#!/usr/bin/perl
# Garbage on raftd's socket closes that connection, never the daemon.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use IO::Socket::UNIX;
use JSON::PP ();
use Test::More;

my $d = Frame::Daemon->new('raftd', { node_name => 'n1', datacenter => 'dc1', dev_mode => JSON::PP::true, data_dir => '',
	log_level => 'INFO' });
my $set = { Op => 'set', DirEnt => { Key => 'a', Value => 'x' } };
my $empty = "\x80";
my %op = %Frame::OP;

sub header { pack 'NCCnN', @_ }

# Send bytes on a connection of its own: what comes back until it is closed; undef when it stays open.
sub send_raw
{
	my ($bytes, $half) = @_;
	my $s = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => "$d->{dir}/raftd.sock") or die "socket: $!";
	my $got = '';

	$s->print($bytes);
	$s->flush;
	shutdown $s, 1 if $half;
	while (IO::Select->new($s)->can_read(3)) {
		my $n = sysread $s, $got, 65536, length $got;
		return $got if !$n;
	}
	return undef;
}

my %garbage = (
	'plain text' => "GET / HTTP/1.1\r\n\r\n",
	'zeros' => "\0" x 64,
	'ones' => "\xff" x 64,
	'an unknown operation' => header(1, 1, 0, 999, 1) . $empty,
	'an unknown kind' => header(1, 77, 0, $op{'kv.get'}, 1) . $empty,
	'a reply' => header(1, 2, 0, $op{'kv.get'}, 1) . $empty,
	'an event' => header(1, 3, 0, $op{'kv.get'}, 1) . $empty,
	'id 0' => header(1, 1, 0, $op{'status.leader'}, 0) . $empty,
	'a length above the limit of its operation' => header(4097, 1, 0, $op{'status.leader'}, 1),
	'four gigabytes' => header(0xffffffff, 1, 0, $op{'kv.apply'}, 1),
	'an empty body' => header(0, 1, 0, $op{'kv.get'}, 1),
	'options alone' => header(1, 1, 0, $op{'kv.get'}, 1) . $empty,
	'bytes left over' => header(3, 1, 0, $op{'kv.get'}, 1) . $empty x 3,
	'a number for a record' => header(2, 1, 0, $op{'kv.get'}, 1) . $empty . "\x01",
	'a number for a key' => do { my $b = $empty . Frame::pack_value({ Key => 5 }); header(length $b, 1, 0, $op{'kv.get'}, 1) . $b },
	'a list of a billion' => header(6, 1, 0, $op{'txn.apply'}, 1) . $empty . "\xdd\x40\0\0\0",
	'deep nesting' => header(20002, 1, 0, $op{'kv.apply'}, 1) . $empty . "\x91" x 20000 . "\xc0",
	'a write without a record' => header(1, 1, 0, $op{'kv.apply'}, 1) . $empty,
	'a write of nonsense' => header(2, 1, 0, $op{'kv.apply'}, 1) . $empty . "\xc1",
	'a cancel with a body' => header(1, 4, 0, $op{'kv.get'}, 1) . 'x',
);
for my $what (sort keys %garbage) {
	my $got = send_raw($garbage{$what});

	ok(defined $got && $got eq '', "$what: closed without an answer");
}
my $whole = do { my $b = $empty . Frame::pack_value($set); header(length $b, 1, 0, $op{'kv.apply'}, 1) . $b };
for my $n (1, 5, 11, 12, 13, length($whole) - 1) {
	is(send_raw(substr($whole, 0, $n), 1), '', "cut off after $n bytes: closed");
}
# What came before the garbage on the same connection has been carried out.
ok(defined send_raw($whole . "\xff" x 40), 'a good frame before garbage');
my ($meta, $r) = $d->ask('kv.get', { Key => 'a' });
is($r->[0]{Value}, 'x', 'was carried out');
# Unknown fields are for later releases.
($meta, $r) = $d->ask('kv.get', { Key => 'a', Later => [{ x => 'y' }] }, { Future => 'z' });
is($r->[0]{Value}, 'x', 'unknown fields are skipped');
# Every prefix of a request, and every byte of it changed.
srand 7;
for my $i (0 .. length($whole) - 1) {
	my $bad = $whole;

	substr $bad, $i, 1, chr(int rand 256);
	my $s = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => "$d->{dir}/raftd.sock") or die "socket: $!";
	$s->print($bad);
	close $s;
}
($meta, $r) = $d->ask('kv.get', { Key => 'a' });
ok(defined $meta, 'the connection of others and the daemon go on');
($meta, $r) = $d->ask('daemon.info');
cmp_ok($r->{raftd}{connections}, '<', 200, 'connections were given back');
is($d->stop, 0, 'it ends in order');

done_testing;
