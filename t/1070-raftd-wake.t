#!/usr/bin/perl
# A crowd of blocking queries that wakes at once: nobody is forgotten, others are served, and one who does not read costs little.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

$ENV{ASAN_OPTIONS} = join ':', grep { $_ } $ENV{ASAN_OPTIONS}, 'quarantine_size_mb=1';
my $d = Frame::Daemon->new('raftd', { node_name => 'n1', node_id => '4b1f7f0c-0001-4d0e-8000-000000000001', datacenter => 'dc1',
	server => JSON::PP::true, dev_mode => JSON::PP::true, log_level => 'INFO' });

sub put { my ($k, $v) = @_; return ($d->ask('kv.apply', { Op => 'set', DirEnt => { Key => $k, Value => $v } }))[0]{Index} }
sub parked { my (undef, $info) = $d->ask('daemon.info'); return $info->{state}{blocking_queries} }
sub rss { open my $f, '<', "/proc/$d->{pid}/status" or die; my ($kb) = join('', <$f>) =~ /VmRSS:\s+(\d+)/; return $kb / 1024 }
sub wait_parked { for (1 .. 600) { return 1 if parked() == $_[0]; select undef, undef, undef, 0.02 } return 0 }

# ---- many small ones
my $index = put('small', 'a');
my @crowd = map { Frame::Client->new("$d->{dir}/raftd.sock") } 1 .. 4;
for my $c (@crowd) { $c->start('kv.get', { Key => 'small' }, { MinIndex => $index }) for 1 .. 1500 }
ok(wait_parked(6000), '6000 queries wait');
put('small', 'b');
my $answered = 0;
for my $c (@crowd) {
	for (1 .. 1500) {
		my ($id, $meta, $list) = $c->reply(20) or last;
		$answered++ if $meta->{Index} > $index && $list->[0]{Value} eq 'b';
	}
}
is($answered, 6000, 'each is answered, once woken');
is(parked(), 0, 'and none is left');

# ---- large answers to one who does not read
$index = put('large', 'x' x (512 * 1024));
my $lazy = Frame::Client->new("$d->{dir}/raftd.sock");
$lazy->start('kv.get', { Key => 'large' }, { MinIndex => $index }) for 1 .. 400;
ok(wait_parked(400), '400 queries for a large value wait on one connection');
my $before = rss();
put('large', 'y' x (512 * 1024));
my $other = Frame::Client->new("$d->{dir}/raftd.sock");
my $began = time;
$other->ask('kv.get', { Key => 'small' }) for 1 .. 20;
cmp_ok((time - $began) / 20, '<', 0.5, 'others are served');
my $grown = rss() - $before;
cmp_ok($grown, '<', 64, sprintf 'answers that nobody takes are not piled up (%.0f MiB)', $grown);
cmp_ok(parked(), '>', 300, 'they wait');
$answered = 0;
for (1 .. 400) {
	my ($id, $meta, $list) = $lazy->reply(20) or last;
	$answered++ if $meta->{Index} > $index && $list->[0]{Value} eq 'y' x (512 * 1024);
}
is($answered, 400, 'until they are taken');

# ---- one who goes away while they wait
$index = put('large', 'z' x (512 * 1024));
$lazy->start('kv.get', { Key => 'large' }, { MinIndex => $index }) for 1 .. 400;
ok(wait_parked(400), 'again');
put('large', 'w' x (512 * 1024));
undef $lazy;
ok(wait_parked(0), 'nothing is kept for a connection that has gone');
is($d->stop, 0, 'it ends in order');

done_testing;
