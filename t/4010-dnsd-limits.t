#!/usr/bin/perl
# How many records an answer has, in what size, over UDP and TCP; and all of
# dns_config changed by a reload while questions go on.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Dns;
use Node;

my $n = Node->new(dev => 1, name => 'server');

Dns::catalog($n, "node$_", "10.0.0.$_", { Service => 'many', Port => 1000 + $_ }) for 1 .. 11;
Dns::catalog($n, "big$_", "10.1.0.$_", { Service => 'big', Port => 1000 + $_ }, undef, NodeMeta => { k => "v$_" }) for 1 .. 60;
Dns::catalog($n, 'w1', '10.2.0.1', { Service => 'health', Port => 1 }, 'passing');
Dns::catalog($n, 'w2', '10.2.0.2', { Service => 'health', Port => 1 }, 'warning');

sub ask { return Dns::ask($n, @_); }
sub count { my ($section, @query) = @_; return scalar @{ask(@query)->{$section}}; }

sub tcp
{
	my $s = Dns::socket_tcp($n);

	print $s Dns::tcp_frame(Dns::query(@_));
	return Dns::parse(Dns::tcp_read($s));
}

# ---- defaults

is count('answer', 'many.service.consul', 'A'), 3, 'plain UDP gets 3 of 11 [V]';
ok !ask('many.service.consul', 'A')->{flags}{tc}, '... without a sign';
is count('answer', 'many.service.consul', 'A', edns => 512), 3, '... and EDNS with 512 too';
is count('answer', 'many.service.consul', 'A', edns => 1232), 11, 'EDNS gets all [V]';
is @{tcp('many.service.consul', 'A')->{answer}}, 11, 'TCP gets all [V]';
is count('answer', 'many.service.consul', 'SRV'), 3, 'SRV is limited alike';
is count('additional', 'many.service.consul', 'SRV'), 3, '... with the addresses of what is left';

my %seen;
for (1 .. 60) {
	my ($first) = ask('many.service.consul', 'A')->{answer}[0] =~ /(\d+)$/;
	$seen{$first}++;
}
cmp_ok scalar keys %seen, '>', 6, 'another order each time';

my $r = ask('big.service.consul', 'SRV', edns => 1232);
cmp_ok $r->{size}, '<=', 1232 - 7, 'an answer is cut to the size the client takes';
cmp_ok scalar @{$r->{answer}}, '>', 8, '... but no more';
is $r->{udp}, 1232, '... and keeps its OPT';
ok !(grep { / TXT / } @{$r->{additional}}), '... and loses the TXT';
is @{$r->{additional}}, @{$r->{answer}}, '... but no target its address';
is ask('big.service.consul', 'A', edns => 4096)->{udp}, 4096, "OPT echoes the client's size";
is ask('big.service.consul', 'A')->{udp}, undef, 'no OPT without one in the question';
is ask('nope.service.consul', 'A', edns => 1400)->{udp}, 1400, 'OPT in a negative answer';
is @{tcp('big.service.consul', 'SRV')->{answer}}, 60, 'TCP is not cut';
is count('additional', 'big.service.consul', 'SRV', edns => 65535), 120, 'a large UDP size gets all, with TXT';
is ask('many.service.consul', 'A', edns => 1232, version => 1)->{rcode}, 16, 'another version of EDNS is BADVERS';
is count('answer', 'health.service.consul', 'A'), 2, 'warning instances are told of';

# ---- reload

sub after_reload
{
	my ($config, $what, $code) = @_;

	$n->reload({ dns_config => $config });
	ok $n->wait_for($code, 5), $what;
}

# Questions all the while: each must be answered.
my $stop = 0;
pipe my $from, my $to or die;
my $asker = fork;
if ($asker == 0) {
	my ($asked, $lost) = (0, 0);
	local $SIG{TERM} = sub { $stop = 1 };
	while (!$stop) {
		my $r = ask('many.service.consul', 'A');
		last if $stop; # the signal may have ended the waiting
		$asked++;
		$lost++ if !$r || $r->{status} ne 'NOERROR';
	}
	syswrite $to, "$asked $lost\n";
	POSIX::_exit(0);
}
close $to;

after_reload({ udp_answer_limit => 5 }, 'udp_answer_limit 5', sub { count('answer', 'many.service.consul', 'A') == 5 });
after_reload({ udp_answer_limit => 100 }, 'udp_answer_limit is 8 at most', sub { count('answer', 'many.service.consul', 'A') == 8 });
after_reload({ enable_truncate => JSON::PP::true }, 'enable_truncate', sub { ask('many.service.consul', 'A')->{flags}{tc} });
ok !ask('many.service.consul', 'A', edns => 4096)->{flags}{tc}, '... but not when nothing was cut';
after_reload({ a_record_limit => 2 }, 'a_record_limit', sub { count('answer', 'many.service.consul', 'A', edns => 4096) == 2 });
is count('answer', 'many.service.consul', 'SRV', edns => 4096), 11, '... is not for SRV';
is @{tcp('many.service.consul', 'A')->{answer}}, 2, '... but for TCP';
after_reload({ only_passing => JSON::PP::true }, 'only_passing', sub { count('answer', 'health.service.consul', 'A') == 1 });
after_reload({ node_ttl => '7s' }, 'node_ttl', sub { ask('w1.node.consul', 'A')->{answer}[0] =~ / 7 A / });
after_reload({ service_ttl => { 'many' => '9s', 'm*' => '8s', '*' => '6s' } }, 'service_ttl',
	sub { ask('many.service.consul', 'A')->{answer}[0] =~ / 9 A / });
is ask('health.service.consul', 'A')->{answer}[0], 'health.service.consul. 6 A 10.2.0.1', '... for every service';
after_reload({ soa => { refresh => 1, retry => 2, expire => 3, min_ttl => 4 } }, 'soa',
	sub { ask('no.consul', 'A')->{authority}[0] =~ /^consul\. 4 SOA \w+0{7}1000000020000000300000004$/ });
my $small = ask('many.service.consul', 'A', edns => 4096)->{size};
after_reload({ disable_compression => JSON::PP::true }, 'disable_compression',
	sub { ask('many.service.consul', 'A', edns => 4096)->{size} > $small });
after_reload({ enable_additional_node_meta_txt => JSON::PP::false }, 'enable_additional_node_meta_txt',
	sub { count('additional', 'big.service.consul', 'SRV', edns => 65535) == 60 });

kill TERM => $asker;
my ($asked, $lost) = split ' ', scalar <$from>;
waitpid $asker, 0;
cmp_ok $asked, '>', 100, "questions went on ($asked)";
is $lost, 0, 'none of them was dropped or refused';
done_testing;
