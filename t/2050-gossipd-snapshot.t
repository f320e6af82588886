#!/usr/bin/perl
# The snapshot file: what is in it, damage, a disk that is full or broken, rewriting.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use File::Temp ();
use Pool;
use Test::More;

sub put
{
	my ($path, $text) = @_;

	open my $f, '>:raw', $path or die "$path: $!";
	print $f $text;
	close $f or die "$path: $!";
}

my $pool = Pool->new;
my ($a, $b) = $pool->form(2, server => 0);
ok($pool->wait_members({ n1 => 1, n2 => 1 }), 'two members');
my $file = "$b->{dir}/serf/local.snapshot";
ok(Pool::until(sub { $b->file('serf/local.snapshot') =~ /^alive: n1 \Q$a->{ip}:$a->{lan}\E$/m }), 'members are written down with their addresses');
$a->want('gossip.event_fire', { Name => "e$_" }) for 1 .. 5;
ok(Pool::until(sub { $b->file('serf/local.snapshot') =~ /^event-clock: [5-9]$/m }), 'and the clocks');
is((stat $file)[2] & 0777, 0600, 'for its owner alone');
my $before = $b->info->{serf_lan};

# ---- killed as soon as it has joined
my $known = 0;
for (1 .. 5) {
	my $brief = Pool->new;
	@$brief{qw(lan wan)} = @$a{qw(lan wan)};
	my ($x, $y) = map { $brief->add(server => 0, node_name => "brief$_", node_id => "ffffffff-0000-4d0e-8000-00000000000$_") } 1, 2;
	$x->join($a);
	Pool::until(sub { $x->file('serf/local.snapshot') =~ /^alive: n1 /m });
	$y->join($x);
	Pool::until(sub { $x->file('serf/local.snapshot') =~ /^alive: brief2 /m }, 0.3);
	$x->stop('KILL');
	$known++ if $x->file('serf/local.snapshot') =~ /^alive: brief2 /m;
}
# A busy machine may be slow at times.
cmp_ok($known, '>=', 3, 'the first members are written down at once');
ok(Pool::until(sub {
	for my $name (grep { /^brief/ } keys %{$a->status}) {
		$a->want('gossip.force_leave', { Node => $name, Prune => JSON::PP::true });
	}
	return $a->sees({ n1 => 1, n2 => 1 }) && $b->sees({ n1 => 1, n2 => 1 });
}), 'and forgotten');

# ---- a restart
$b->stop('KILL');
$b->restart;
ok($pool->wait_members({ n1 => 1, n2 => 1 }), 'after a crash');
cmp_ok($b->info->{serf_lan}{event_time}, '>=', $before->{event_time}, 'the clocks go on');
cmp_ok($b->info->{serf_lan}{member_time}, '>=', $before->{member_time}, 'all of them');
is_deeply($b->want('gossip.event_list', {}), [], 'old events are not delivered again');

# ---- damage
$b->stop;
my $good = $b->file('serf/local.snapshot');
put($file, "\x00\xff garbage\nalive: \nalive: x\nalive: y nowhere\nclock: minus\nclock: 99999999999999999999999\n" . ('z' x 100_000) . "\n${good}not-alive");
$b->restart;
ok($pool->wait_members({ n1 => 1, n2 => 1 }), 'damaged lines are passed over');
like($b->log, qr/serf: snapshot file has lines that cannot be read: path=\S+ lines=\d/, 'and told');
unlike($b->log, qr/runtime error|Sanitizer/, 'no harm done');
$b->stop;
put($file, join '', map { chr int rand 256 } 1 .. 300_000);
$b->restart;
ok(Pool::until(sub { $b->sees({ n2 => 1 }) }), 'nothing but damage: alone');
$b->join($a);
ok($pool->wait_members({ n1 => 1, n2 => 1 }), 'and able to join');
ok(Pool::until(sub { my $t = $b->file('serf/local.snapshot'); length $t < 10_000 && $t =~ /^alive: n1 /m }), 'a file that is too large is written anew');
ok(!-e "$file.compact", 'at once or not at all');

# ---- a file of many
$b->stop;
put($file, join '', map { sprintf "alive: old%d 127.255.%d.%d:1\n", $_, $_ >> 8, $_ & 255 } 1 .. 3000);
open my $append, '>>', $file or die;
print $append "alive: n1 $a->{ip}:$a->{lan}\nclock: 70\nevent-clock: 80\nquery-clock: 90\n";
close $append;
$b->restart;
ok($pool->wait_members({ n1 => 1, n2 => 1 }), 'the one of three thousand that is still there is found');
cmp_ok($b->info->{serf_lan}{query_time}, '>', 90, 'clocks as they were');

# ---- a leave
$b->want('gossip.leave');
ok(Pool::until(sub { $b->file('serf/local.snapshot') =~ /^leave$/m }), 'a leave is written down');
$b->restart;
ok(Pool::until(sub { $b->sees({ n2 => 1 }) }), 'who left starts alone');
is($b->stop >> 8, 0, 'ends with 0');

# ---- a disk that does not take it: the snapshot is a directory, then a full device
unlink $file;
mkdir $file;
$b->restart;
$b->join($a);
ok($pool->wait_members({ n1 => 1, n2 => 1 }), 'without a file that can be written it works on');
like($b->log, qr/serf: snapshot file cannot be (read|written): path=/, 'and says so');
$b->stop;
rmdir $file;
symlink '/dev/full', $file;
$b->restart;
$b->join($a);
ok($pool->wait_members({ n1 => 1, n2 => 1 }), 'nor does a link lead it astray');
$b->stop;
unlink $file;

my $mounted;
END {
	my $status = $?;
	if (defined $mounted) {
		system("umount $mounted 2>/dev/null");
		rmdir $mounted;
	}
	$? = $status;
}
SKIP: {
	skip 'needs root for a file system of its own', 7 if $> != 0 || system('unshare -m true 2>/dev/null') != 0;
	my $dir = File::Temp::tempdir("gossipd-disk-$$-XXXXXX", TMPDIR => 1);
	skip 'cannot mount', 7 if system("mount -t tmpfs -o size=64k none $dir 2>/dev/null") != 0;
	$mounted = "$dir";
	system("dd if=/dev/zero of=$dir/fill bs=1k count=100 2>/dev/null");
	my $c = $pool->add(server => 0, data_dir => "$dir");
	$c->join($a);
	ok($c->wait_log(qr/serf: snapshot file cannot be written: path=\S+ error="No space left on device"/), 'a full disk is told');
	ok(Pool::until(sub { $c->sees({ n1 => 1, n3 => 1 }) || $c->sees({ n1 => 1, n2 => 4, n3 => 1 }) }), 'the pool works on');
	unlink "$dir/fill";
	ok($c->wait_log(qr/serf: snapshot file is written again/), 'when there is room again it is written again');
	my $t = do { open my $f, '<', "$dir/serf/local.snapshot"; local $/; <$f> };
	like($t, qr/^alive: n1 /m, 'what there was to write is there,');
	unlike($t, qr/^(?!alive: |not-alive: |clock: |event-clock: |query-clock: |leave|coordinate: |#).+/m, 'with whole lines');
	is($c->stop >> 8, 0, 'ends with 0');
	unlike($c->log, qr/runtime error|Sanitizer/, 'nothing was wrong');
}
unlike($_->log, qr/runtime error|Sanitizer/, "$_->{node}: nothing was wrong") for $a, $b;
done_testing;
