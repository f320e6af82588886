#!/usr/bin/perl
# t/DNS-COVERAGE tells for every fact of the description of DNS, and for each kind of check that it passes, warns, fails
# and hangs, which test shows it: the tests are there, run with the others, and hold the words by which it is found.
use strict;
use warnings;
use Test::More;

my $src = $ENV{SRCDIR};

sub slurp
{
	my ($file) = @_;

	open my $fh, '<', "$src/$file" or return undef;
	local $/;
	return scalar <$fh>;
}

my $run = join ' ', map { slurp($_) } 'Makefile.am', map { s{^\Q$src/}{}r } glob("$src/t/*.inc"), glob("$src/fuzz/*.inc");
my (%text, %ids, %sections, @bad);
my $n = 0;

sub check_test
{
	my ($where) = @_;
	my ($file, $words) = $where =~ m{^(t/\S+) "(.+)"$} or return "'$where' is no test with words in quotation marks";

	$text{$file} //= slurp($file) // '';
	return "$file is not there" if $text{$file} eq '';
	(my $name = $file) =~ s/\.c$//;
	return "$file is not run" if $run !~ /(?:^|\s)\Q$name\E(?:\.c)?(?:\s|$)/m;
	return "$file does not say \"$words\"" if index($text{$file}, $words) < 0;
	return;
}

for (split /\n/, slurp('t/DNS-COVERAGE') // '') {
	$n++;
	next if /^(?:#.*|== .*|)$/;
	my ($id, $fact, @where) = split / \| /;

	push @bad, "line $n: no id" if $id !~ /^([1-8]|check)(?:\.[a-z0-9-]+)+$/;
	$sections{$1}++ if $id =~ /^([^.]+)/;
	push @bad, "line $n: $id again" if $ids{$id}++;
	push @bad, "line $n: no fact" if ($fact // '') !~ /\w+ \w+/;
	push @bad, "line $n: $id has no test" if !@where;
	push @bad, map { "line $n: $_" } grep { defined } map { check_test($_) } @where;
}
is @bad, 0, 'every fact names tests that are run and speak of it' or diag join "\n", @bad;
is join(' ', sort keys %sections), '1 2 3 4 5 6 7 8 check', 'no section was forgotten';
cmp_ok scalar keys %ids, '>=', 150, 'nor many facts';

# Each kind that checkd knows.
my @kinds = qw(script http tcp tls udp ttl grpc h2ping docker alias os-service);
is_deeply [grep { my $kind = $_; grep { !$ids{"check.$kind.$_"} } qw(passes warns fails hangs) } @kinds], [],
	'each kind of check is seen to pass, to warn, to fail and to hang, or the row says why it cannot';

done_testing;
