#!/usr/bin/perl
# t/API-COVERAGE tells for every row of the API's description which test shows it: the tests are there, run with
# the others, and hold the words by which a row is found in them; no endpoint of the routes table is without a row.
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
my %text;
my ($rows, @bad, %shown);
my $n = 0;

for (split /\n/, slurp('t/API-COVERAGE') // '') {
	$n++;
	next if /^(?:#.*|== .*|)$/;
	my ($row, @where) = split / \| /;

	push @bad, "line $n: no test" if !@where;
	$rows++;
	$shown{$_} = 1 for $row =~ m{\b(?:GET|PUT|POST|DELETE)(?:/(?:GET|PUT|POST|DELETE))* (\S+)}g;
	for (@where) {
		my ($file, $words) = m{^(t/\S+)(?: "(.*)")?$} or do { push @bad, "line $n: '$_' is no test"; next };

		$text{$file} //= slurp($file) // '';
		push @bad, "line $n: $file is not there" if $text{$file} eq '';
		(my $name = $file) =~ s/\.c$//;
		push @bad, "line $n: $file is not run" if $run !~ /(?:^|\s)\Q$name\E(?:\.c)?(?:\s|$)/m;
		push @bad, "line $n: $file does not say \"$words\"" if defined $words && index($text{$file}, $words) < 0;
	}
}
is_deeply \@bad, [], 'every row names tests that are run and speak of it';
cmp_ok $rows, '>', 150, 'no section was forgotten';

# A row writes what follows a prefix as ":name", where the table ends, or goes on with parameters or its sentence.
my %routes = map { $_ => 1 } slurp('httpd/routes.c') =~ m{^\s*\{ "(/v1/[^"]*)"}mg;
my @lost = grep {
	my $route = $_;
	!grep { my $r = "/v1/$_" =~ s{\?.*|/\K:.*|[,:;.]+$}{}r; $r eq $route || "$r/" eq $route } keys %shown;
} sort keys %routes;
is_deeply \@lost, [], 'every endpoint has a row';

done_testing;
