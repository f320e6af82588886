#!/usr/bin/perl
# The consensus core in the simulator, with fresh random seeds; and the judge of histories, which must know bad ones.
# SIM_SEEDS: how many (1,000). A failure prints the command that replays it.
use strict;
use warnings;
use File::Temp ();
use Test::More;

my ($raft, $linear) = ("$ENV{BUILDDIR}/t/sim/raft", "$ENV{BUILDDIR}/t/sim/linear");
my $tmp = File::Temp->newdir("sim-$$-XXXXXX", TMPDIR => 1);
my $seeds = $ENV{SIM_SEEDS} // 1000;
my $from = $ENV{SIM_FROM} // int rand 1e9;

# ---- seeds, in two processes

my @runs;
for my $half (0, 1) {
	my $n = $half ? $seeds - int($seeds / 2) : int($seeds / 2);
	my $first = $from + $half * int($seeds / 2);

	open my $out, '-|', "$raft --from $first --seeds $n 2>&1" or die "$raft: $!";
	push @runs, [$first, $n, $out];
}
for my $r (@runs) {
	my ($first, $n, $out) = @$r;
	my @lines = <$out>;

	ok close $out, "$n seeds from $first are clean" or diag @lines > 20 ? @lines[-20 .. -1] : @lines;
	note @lines;
}

# ---- a seed replays exactly

my $seed = int rand 1e9;
my ($once, $again) = map { scalar `$raft --seed $seed --minutes 0.2 --trace` } 1, 2;
cmp_ok length $once, '>', 10000, "seed $seed tells what happens";
ok $once eq $again, '... and the same again';
like $once, qr/^\[ *\d+\.\d+\] . leads term \d+$/m, '... leaders among it';
isnt system("$raft --profile nonsense >/dev/null 2>&1"), 0, 'a profile that there is not';

# ---- histories: (exit code, what is said) for lines

my $files = 0;
sub judge
{
	my ($text) = @_;
	my $file = "$tmp/" . $files++;

	open my $f, '>', $file or die "$file: $!";
	print $f $text;
	close $f;
	my $said = `$linear $file 2>&1`;
	return ($? >> 8) . " $said";
}

my $good = <<'END';
# two clients, one register, one lock
1 100 200 k put a ok
2 150 300 k get - -
2 310 320 k get - a
1 330 ? k put b ?
2 340 350 k cas a,c ok
2 360 370 k get - c
2 380 390 k get - b
1 10 20 l acquire s1 ok
2 30 40 l acquire s2 fail
1 50 60 l release s1 ok
2 70 80 l acquire s2 ok
1 400 410 k delete - ok
2 420 430 k get - -
END
like judge($good), qr/^0 linearizable: 13 operations, 2 keys$/, 'a good history';

my %bad = (
	'a stale read' => "1 1 2 k put a ok\n2 3 4 k get - -\n",
	'a lost write' => "1 1 2 k put a ok\n1 3 4 k put b ok\n2 5 6 k get - a\n",
	'a write applied twice' => "1 1 9 k put a ok\n2 2 3 k get - a\n2 4 5 k put b ok\n2 6 7 k get - b\n2 10 11 k get - a\n",
	'a cas that two have won' => "1 1 2 k put a ok\n1 3 4 k cas a,b ok\n2 3 4 k cas a,c ok\n",
	'a value from nowhere' => "1 1 2 k get - a\n",
	'a lock with two holders' => "1 1 2 l acquire s1 ok\n2 3 4 l acquire s2 ok\n",
	'a deleted value that comes back' => "1 1 2 k put a ok\n1 3 4 k delete - ok\n2 5 6 k get - a\n",
);
like judge($bad{$_}), qr/^1 not linearizable: key [kl]$/, $_ for sort keys %bad;
like judge("$good$bad{'a stale read'}" =~ s/ k / other /gr), qr/^1 not linearizable: key other$/, 'one bad key among good ones';

my %unreadable = (
	'fields are missing' => "1 1 2 k put a\n",
	'times are none' => "1 x 2 k put a ok\n",
	'it ends before it begins' => "1 5 2 k put a ok\n",
	'the operation is unknown' => "1 1 2 k frob a ok\n",
	'an outcome is known but not when' => "1 1 ? k put a ok\n",
	'cas has one value' => "1 1 2 k cas a ok\n",
	'a line is too long' => '1 1 2 k put ' . 'a' x 5000 . " ok\n",
);
like judge($unreadable{$_}), qr/^2 linear: line 1: /, "refused: $_" for sort keys %unreadable;

# Many writes of which nobody knows the outcome, and a cas that does not say why it failed.
my $hard = join '', map { my $at = $_ * 10; ($_ % 3 ? "1 $at ? k put u$_ ?\n" : '') . "2 $at " . ($at + 5) . " k put v$_ ok\n" .
	"3 " . ($at + 6) . ' ' . ($at + 8) . " k get - v$_\n" } 1 .. 400;
like judge($hard . "3 5000 5001 k cas v400,x fail\n"), qr/^0 /, 'hundreds of unknown outcomes are no burden';
like judge($hard . "3 5000 5001 k cas v400,x fail\n3 5002 5003 k get - v400\n"), qr/^1 /, '... and do not excuse everything';

done_testing;
