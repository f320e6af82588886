#!/usr/bin/perl
# Does the simulator see? Each patch of t/sim/mutants plants one bug in the consensus core, and must be found.
#
# A patch says what it breaks, and which profile of faults is to find it. The
# seeds are always the same, so that a failure is one of the code: it says
# that a bug of this kind would go unnoticed. MUTANTS='01 13' runs these alone.
use strict;
use warnings;
use File::Basename qw(basename);
use File::Path qw(make_path);
use File::Temp ();
use Test::More;
use Time::HiRes qw(time);

my $src = $ENV{SRCDIR};
my ($cc) = grep { system("command -v $_ >/dev/null 2>&1") == 0 } grep { defined } $ENV{CC}, 'gcc', 'clang', 'cc';
plan skip_all => 'no C compiler here' if !$cc;
plan skip_all => 'no patch here' if system('command -v patch >/dev/null 2>&1') != 0;

my $tmp = File::Temp->newdir("mutants-$$-XXXXXX", TMPDIR => 1);
my ($seeds, $minutes, $seconds) = (20000, 1, 100);

sub run_ok { my ($what, @cmd) = @_; system(@cmd) == 0 or BAIL_OUT("$what: @cmd") }

# Objects of these sources into a directory; headers are found below $top first.
sub compile
{
	my ($top, $into, @files) = @_;

	make_path $into;
	for my $f (@files) {
		my ($name) = basename($f) =~ /(.*)\.c$/;
		run_ok('compiling', $cc, qw(-std=gnu11 -O2 -w -D_GNU_SOURCE), "-I$top", "-I$src", '-c', $f, '-o', "$into/$name.o");
	}
}

sub link_raft { my ($exe, @objects) = @_; run_ok('linking', $cc, @objects, '-o', $exe) }

my @sim = grep { !m{/linear_main\.c$} } glob "$src/t/sim/*.c";
my @core = glob "$src/raftd/core/*.c";
compile($src, "$tmp/sim", @sim);
compile($src, "$tmp/core", @core);

link_raft("$tmp/raft", glob("$tmp/sim/*.o"), glob("$tmp/core/*.o"));
my $clean = `$tmp/raft --from 1 --seeds 200 --minutes $minutes 2>&1`;
is $?, 0, 'the core as it is passes' or diag $clean;

# The core with a patch: a copy of it, and objects of what the patch changes.
sub plant
{
	my ($patch, $text) = @_;
	my $dir = "$tmp/" . basename($patch, '.patch');
	my @changed = $text =~ m{^\+\+\+ b/(\S+)}mg;

	make_path "$dir/raftd/core", "$dir/raftd/obj";
	run_ok('copying', 'cp', @core, glob("$src/raftd/core/*.h"), "$dir/raftd/core");
	# A tarball's sources may be read-only.
	chmod 0644, glob "$dir/raftd/core/*";
	run_ok('copying', 'cp', glob("$tmp/core/*.o"), "$dir/raftd/obj");
	my $said = `cd $dir && patch -s -p1 <$patch 2>&1`;
	return (undef, "does not apply: $said") if $? != 0;
	@changed = map { "raftd/core/" . basename $_ } @core if grep { /\.h$/ } @changed;
	compile($dir, "$dir/raftd/obj", map { "$dir/$_" } @changed);
	link_raft("$dir/raft", glob("$tmp/sim/*.o"), glob("$dir/raftd/obj/*.o"));
	return ("$dir/raft", undef);
}

for my $patch (sort glob "$src/t/sim/mutants/*.patch") {
	my $name = basename($patch, '.patch');
	my ($number) = $name =~ /^(\d+)/;

	next if defined $ENV{MUTANTS} && !grep { $_ eq $number } split ' ', $ENV{MUTANTS};
	open my $f, '<', $patch or die "$patch: $!";
	my $text = do { local $/; <$f> };
	my ($profile) = $text =~ /^profile: (\w+)$/m;
	my ($exe, $error) = plant($patch, $text);
	if (!$exe) {
		fail "$name: $error";
		next;
	}
	my $began = time;
	my $said = `timeout $seconds $exe --from 1 --seeds $seeds --minutes $minutes @{[$profile ? "--profile $profile" : '']} 2>&1`;
	my $status = $? >> 8;
	my ($found) = $said =~ /^seed (.*)/m;
	ok $status == 1 && defined $found, "$name is found" or diag "exit $status after " . int(time - $began) . " s: $said";
	note sprintf '%.1f s: seed %s', time - $began, $found // '';
}

done_testing;
