#!/usr/bin/perl
# Every key that a daemon's code reads is in its slice, and every key that a daemon is given is read by it.
use strict;
use warnings;
use Test::More;

my %bit = (raftd => 'R', gossipd => 'G', httpd => 'H', dnsd => 'D', checkd => 'C');
my %fact = map { $_ => 1 } qw(version revision dev_mode run_dir debug_config definition_sources.services agent_tls.server_name);

sub slurp
{
	my ($name) = @_;
	local $/;

	open my $f, '<', $name or die "$name: $!";
	return scalar <$f>;
}

# path => { class, daemons }
my %key;
my $schema = slurp("$ENV{SRCDIR}/consulctl/config/schema.c");
while ($schema =~ /^\t(USED|RELOAD|IGNORED|REFUSED|RENAMED)\("([^"]+)", \w+(?:, ([A-Z |]+))?,/mg) {
	my ($class, $path, $mask) = ($1, $2, $3 // '');

	$mask = join '|', values %bit if $mask eq 'ALL';
	$key{$path} = { class => $class, daemons => { map { $_ => 1 } split /[ |]+/, $mask } };
}
cmp_ok scalar keys %key, '>', 200, 'the schema was read';

# All string literals of a daemon's code: keys are read through helpers of many names.
my (%reads, %literal);
for my $d (sort keys %bit) {
	for my $file (glob("$ENV{SRCDIR}/$d/*.c $ENV{SRCDIR}/$d/*/*.c"), glob("$ENV{SRCDIR}/lib/*.c")) {
		my $text = slurp($file);

		$literal{$d}{$1} = 1 while $text =~ /"([a-z0-9_.]+)"/g;
		next if $file =~ m{/lib/};
		# In these two, members of watches and of jobs are read by the same functions.
		my $from = $file =~ m{/checkd/(?:watch_command|rexec_spec)\.c$} ? qr/slice/ : qr/[^"();]*/;
		$reads{$d}{$1} = 1 while $text =~ /\bcfg_(?:str|int|bool|ms|get|double)\($from,\s*"([^"]+)"/g;
	}
}

for my $d (sort keys %bit) {
	my @missing = grep {
		!$fact{$_} && !(exists $key{$_} && ($key{$_}{class} =~ /IGNORED|REFUSED/ || $key{$_}{daemons}{$bit{$d}}))
	} sort keys %{ $reads{$d} };

	# An object is read whole: one of its keys has to be there.
	@missing = grep { my $o = $_; !grep { index($_, "$o.") == 0 && $key{$_}{daemons}{$bit{$d}} } keys %key } @missing;
	is_deeply \@missing, [], "$d: what it reads is in its slice";
}

# Keys of the supervisor alone; what shapes other keys is read by the configuration code itself.
my $own = join "", map { slurp($_) } grep { !m{/config/(?:schema|flags)\.c$} } glob("$ENV{SRCDIR}/consulctl/*.c $ENV{SRCDIR}/consulctl/*/*.c");
my @idle;
for my $path (sort keys %key) {
	next if $key{$path}{class} !~ /^(?:USED|RELOAD)$/;
	my @daemons = grep { $key{$path}{daemons}{$bit{$_}} } sort keys %bit;
	(my $last = $path) =~ s/.*\.//;

	next if $path =~ /^(?:service|check|client_addr)$/;
	push @idle, $path if !@daemons && $own !~ /"\Q$path\E"/;
	push @idle, $path if @daemons && !grep { $literal{$_}{$path} || $literal{$_}{$last} } @daemons;
}
is_deeply \@idle, [], 'a key that is said to be used is read by a daemon that gets it, or by the supervisor' or diag join "\n", @idle;

done_testing;
