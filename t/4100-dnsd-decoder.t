#!/usr/bin/perl
# Hundreds of questions made up from a seed: two decoders that are not dnsd's take every reply apart, and a model
# reckoned from the HTTP API says what may stand in it. Again under other settings. TEST_SEED repeats a run.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use JSON::PP ();
use Dns;
use Node;

(Node::_run({}, '/usr/bin/python3', '-c', 'import dns.message'))[0] and plan skip_all => 'dnspython is not installed';

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $seed = $ENV{TEST_SEED} // int rand 1e9;
my $n = Node->new(dev => 1, name => 'server', config => { log_level => 'info', alt_domain => 'alt.example' });
my %c = (ip => $n->{ip}, dns => $n->{ports}{dns}, http => $n->{ports}{http}, dc => 'dc1', domain => 'consul', alt_domain => 'alt.example',
	count => 0 + ($ENV{TEST_DNS_QUESTIONS} // 400));
diag "seed $seed";

sub decoder
{
	my ($what, $settings) = @_;

	Node::write_file("$n->{dir}/decoder.json", JSON::PP->new->encode({ %c, seed => $seed++, dns_config => $settings }));
	my ($rc, $out, $err) = Node::_run({ PYTHONDONTWRITEBYTECODE => 1 }, '/usr/bin/python3', "$Node::SRCDIR/t/lib/dns_decoder.py", $what, "$n->{dir}/decoder.json");
	die "the decoder: $err" if $rc;
	return split /\n/, $out;
}

sub run_with
{
	my ($settings, $what) = @_;

	if (%$settings) {
		my ($ttl) = $settings->{node_ttl} =~ /(\d+)/;
		my $in_a_row = 0;

		$n->{config}{dns_config} = {};
		$n->reload({ dns_config => $settings });
		# The TTL of a spelled address tells which settings hold; more than one process may answer.
		ok $n->wait_for(sub {
			my $r = Dns::ask($n, '7f000001.addr.consul', 'A');
			$in_a_row = $r && $r->{answer}[0] =~ / $ttl A / ? $in_a_row + 1 : 0;
			return $in_a_row == 64;
		}), "$what: taken up";
	}
	my @lines = decoder('ask', $settings);
	my ($asked) = map { /^asked: (.*)/ ? $1 : () } @lines;
	my @faults = grep { /^fault: / } @lines;
	is @faults, 0, "$what: every reply decodes, and says what the catalog says" or diag join "\n", @faults;
	like $asked // '', qr/rcode0=\d+ rcode3=\d+ rcode5=\d+/, '... of all kinds';
	note "$what: $asked";
}

like join('', decoder('fill', {})), qr/registered \d{3}/, 'a catalog to be asked about';
run_with({}, 'as it comes');
run_with({ node_ttl => '11s', service_ttl => { svc1 => '5s', 'svc*' => '6s', '*' => '7s' }, soa => { min_ttl => 9 },
	disable_compression => $true, enable_additional_node_meta_txt => $false }, 'TTLs, and nothing compressed');
run_with({ node_ttl => '12s', enable_truncate => $true, udp_answer_limit => 8, a_record_limit => 5 }, 'limits, and TC set');
run_with({ node_ttl => '13s', only_passing => $true, udp_fill => $true, combine_tags => $false }, 'only passing; packets filled; tags one by one');

$n->stop;
is join("\n", grep { /Sanitizer|runtime error/ } split /\n/, $n->log_text . $n->err_text), '', 'a clean end';
done_testing;
