#!/usr/bin/perl
# dnsd killed, stopped and started with other numbers of workers while it is
# asked without a pause: no connection is refused, no question over UDP stays
# unanswered but what a killed process had in its hands.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use IO::Select;
use JSON::PP ();
use POSIX ();
use Time::HiRes qw(sleep time);
use Dns;
use Node;

my @names = map { "svc$_" } 1 .. 24;
my $n = Node->new(name => 'server', config => { dns_config => { workers => 3 } });

Dns::catalog($n, 'node1', '10.0.0.1', { ID => $_, Service => $_, Port => 80 }) for @names;
sub good { return scalar grep { my $r = Dns::parse(Dns::udp($n, Dns::query("$_.service.consul", 'A'), 10)); $r && @{$r->{answer}} == 1 } @names; }
sub workers { my ($rc, $out) = $n->ctl('info'); return $out =~ /^dnsd:.*?^\s+workers = (\d+)/ms ? $1 : 0; }

ok $n->wait_for(sub { workers() == 3 }), 'three workers' or diag join "\n", $n->ctl('info');
is good(), 24, 'all names are warm';

# ---- a client that asks all the time, in a process of its own: what it saw comes by a pipe once the file is gone

my $go = "$n->{dir}/go";
sub client
{
	my ($seed) = @_;
	pipe my $in, my $out or die "pipe: $!";
	my $pid = fork // die "fork: $!";
	return { pid => $pid, in => $in } if $pid;
	my ($udp, $late, $tcp, $refused, $lost) = (0) x 5;
	srand $seed;
	while (-e $go) {
		my $name = $names[rand @names] . '.service.consul';
		my $s = Dns::socket_udp($n);
		my $r = Dns::udp($n, Dns::query($name, 'A', id => $udp & 0xffff), 5, $s);
		$udp++;
		$late++ if !defined $r || Dns::parse($r)->{status} ne 'NOERROR';
		next if $udp % 8;
		my $c = Dns::socket_tcp($n);
		$tcp++;
		$refused++ if !$c;
		print {$c} Dns::tcp_frame(Dns::query($name, 'A')) if $c;
		my $answer = $c ? Dns::tcp_read($c, 5) : undef;
		$lost++ if !defined $answer || Dns::parse($answer)->{status} ne 'NOERROR';
	}
	syswrite $out, "$udp $late $tcp $refused $lost\n";
	POSIX::_exit(0);
}

sub seen
{
	my @sum = (0) x 5;

	unlink $go;
	for my $c (@_) {
		my $line = readline($c->{in}) // '0 999 0 999 999';
		waitpid $c->{pid}, 0;
		my @v = split ' ', $line;
		$sum[$_] += $v[$_] for 0 .. 4;
	}
	return @sum;
}

sub new_dnsd
{
	my ($old) = @_;

	return $n->wait_for(sub { my %p = $n->pids; $p{dnsd} && $p{dnsd} != $old && workers() });
}

# signal, workers afterwards
for (['TERM', 3], ['KILL', 3], ['TERM', 1], ['TERM', 4], ['KILL', 2], ['TERM', 3]) {
	my ($signal, $workers) = @$_;
	my %p = $n->pids;
	my $what = "$signal, then $workers workers";

	# As an agent that is upgraded would write it: it does not change while one runs.
	my $path = "$n->{data_dir}/run/config/dnsd.json";
	my $slice = JSON::PP->new->decode(Node::_slurp($path));
	$slice->{dns_config}{workers} = $workers;
	Node::write_file($path, JSON::PP->new->encode($slice));
	Node::write_file($go, '');
	my @clients = map { client($_) } 1 .. 3;
	ok $n->wait_for(sub { good() == 24 }), "$what: asked all the time";
	kill $signal => $p{dnsd};
	ok new_dnsd($p{dnsd}), '... it is back';
	ok $n->wait_for(sub { workers() == $workers }), "... with $workers";
	is good(), 24, '... and knows all names';
	my ($udp, $late, $tcp, $refused, $lost) = seen(@clients);
	cmp_ok $udp, '>', 50, "... the clients asked $udp times by UDP, $tcp by TCP";
	is $refused, 0, '... no connection was refused';
	# Of each client one question may have been in the hands of what was killed.
	my $may = $signal eq 'KILL' ? @clients : 0;
	cmp_ok $late, '<=', $may, "... of the questions by UDP at most $may went unanswered";
	# A connection whose question has not come yet is closed by whoever stops (RFC 7766, 6.2.4): one a client, too.
	cmp_ok $lost, '<=', @clients, '... and a connection of each client at most ended without an answer';
}
ok $n->running, 'the node is whole';
done_testing;
