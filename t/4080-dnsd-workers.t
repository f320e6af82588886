#!/usr/bin/perl
# Workers: each name is known to one of them; one that is killed, hangs or
# ends is replaced while its questions go on being answered; reloads, logs,
# numbers, metrics and the end are those of all.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use IO::Select;
use Time::HiRes qw(sleep time);
use Dns;
use Dnsd;

my @names = map { "svc$_" } 1 .. 48;
my %data = (services => { map { $_ => [Dnsd::entry($_, 'n1', '10.0.0.1')] } @names, 'consul' }, nodes => {});
my $d = Dnsd->new(\%data, { dns_config => { workers => 4 } });

sub children { return grep { Node::_slurp("/proc/$_/stat") =~ /\) [^ZX] / } split ' ', Node::_slurp("/proc/$_[0]/task/$_[0]/children"); }
sub workers { return sort { $a <=> $b } children($d->{pid}); }
sub whole { return $d->wait_for(sub { $d->info->{workers} == 4 }); }

# How many of these questions (all names, else) get an address; each has one datagram and 10 s.
sub good
{
	my (@ask) = @_ ? @_ : @names;

	return scalar grep { my $r = Dns::parse(Dns::udp($d, Dns::query("$_.service.consul", 'A'), 10)); $r && @{$r->{answer}} == 1 } @ask;
}

# ---- a name is known to one

ok whole(), 'four processes answer' or diag $d->log;
is scalar(my @three = workers()), 3, '... three of them forked';
is good(), 48, 'all names are answered';
is good(map { (uc $_, "\u$_") } @names[0 .. 11]), 24, '... to other askers, in any spelling';
is good(), 48, '... again';
ok $d->wait_for(sub { $d->info->{views} == 48 }, 10), '... and each is known to one worker alone' or diag explain $d->info;
is $d->info->{raftd}, 'connected', 'raftd is there';

# ---- TCP is anybody's

my @tcp = map { Dns::socket_tcp($d) } 1 .. 40;
print {$tcp[$_]} Dns::tcp_frame(Dns::query("$names[$_].service.consul", 'A', id => $_)) for 0 .. 39;
is scalar(grep { (Dns::parse(Dns::tcp_read($tcp[$_], 10)) // {id => -1})->{id} == $_ } 0 .. 39), 40, 'connections are served';
ok $d->wait_for(sub { $d->info->{tcp_connections} == 40 }, 10), '... and counted, whoever has them';
@tcp = ();
ok $d->wait_for(sub { $d->info->{tcp_connections} == 0 }, 10), '... until they have gone';

# ---- numbers of all

sub total
{
	my ($m) = grep { $_->{Name} eq 'dns.domain_query;node=n1' } @{($d->ask('daemon.metrics'))[1]};

	return $m ? $m->{TotalCount} : 0;
}
my $before = total();
good();
is total() - $before, 48, 'metrics count the questions of all workers';

my $log = Frame::Client->new("$d->{dir}/dnsd.sock");
$log->start('daemon.log', { Level => 'debug' });
Frame::send_frame($log->{sock}, 5, 0, $Frame::OP{'daemon.log'}, $log->{id}, Frame::pack_value(10000));
$d->info;	# has been read when this is answered
my %told;
ok $d->wait_for(sub {
	good(@names[0 .. 15]);
	while (IO::Select->new($log->{sock})->can_read(0.1)) {
		my (undef, undef, undef, undef, $body) = Frame::read_frame($log->{sock}) or last;
		$told{$1} = 1 if $body =~ /request served from client: name=(svc\d+)\./;
	}
	return keys %told == 16;
}), 'who follows the log is told of the questions of all workers';
close $log->{sock};

# ---- a reload reaches all

for my $ttl (7, 8, 9) {
	$d->reload({ dns_config => { workers => 4, service_ttl => { '*' => $ttl * 1000 } } });
	my @other = grep { (Dns::ask($d, "$_.service.consul", 'A')->{answer}[0] // '') !~ /^\S+ $ttl A / } @names;
	is "@other", '', "what was reloaded holds in all workers when the reload is answered (TTL $ttl)";
}
my ($meta, $text) = $d->reload({ dns_config => { workers => 2 } });
like $text, qr/dns_config\.workers/, 'another number of workers needs a restart, which is said';
$d->reload({ dns_config => { workers => 4 } });

# ---- one is killed

for my $round (1 .. 3) {
	my @had = workers();
	my $sum = total();
	my ($victim) = $had[$round - 1];

	kill KILL => $victim;
	is good(), 48, "one worker is killed, and all names are answered ($round)";
	ok whole(), '... it is replaced';
	is scalar(grep { $_ == $victim } workers()), 0, '... by another process';
	is good(), 48, '... that answers';
	cmp_ok total(), '>=', $sum + 96 - 4, '... and what it had counted still counts';
}
like $d->log, qr/a worker has ended and is started again: worker=\d pid=\d+ signal=9/, 'the log tells';

# Over and over: each time it takes longer, and nobody notices.
my $end = time + 3;
my ($asked, $answered, $killed) = (0, 0, 0);
while (time < $end) {
	my ($w) = workers();
	$killed += kill KILL => $w if $w;
	$answered += good(@names[0 .. 7]);
	$asked += 8;
}
# A question that a worker had in its hands when it was killed may be gone.
cmp_ok $answered, '>=', $asked - $killed, "killed over and over ($killed times in 3 s): of $asked questions $answered are answered";
cmp_ok $killed, '<', 40, '... the pauses grow';
ok whole(), '... and in the end all are there' or diag explain $d->info;

# ---- one hangs, one is told to end

my ($hangs) = workers();
kill STOP => $hangs;
ok $d->wait_for(sub { !grep { $_ == $hangs } workers() }, 60), 'one that does not get on is killed';
ok whole(), '... and replaced';
is good(), 48, '... and all names are answered';
my ($ends) = workers();
kill TERM => $ends;
ok $d->wait_for(sub { !grep { $_ == $ends } workers() }), 'one that is told to end does';
ok whole(), '... and is replaced, since the daemon goes on';
is good(), 48, '... and all names are answered';

# ---- raftd restarts: each worker finds it again

$d->kill_raftd;
is good(), 48, 'without raftd all warm names are answered';
$data{services}{$_} = [Dnsd::entry($_, 'n1', '10.0.0.2')] for @names;
$d->data(\%data);
$d->raftd;
ok $d->wait_for(sub { 48 == grep { (Dns::ask($d, "$_.service.consul", 'A')->{answer}[0] // '') =~ /10\.0\.0\.2$/ } @names }),
	'once it is back all workers know what is new';

# ---- the end

my @last = workers();
is $d->stop('TERM'), 0, 'SIGTERM ends all of them well';
is scalar(Node::alive(@last)), 0, '... none is left';
unlike $d->log, qr/still open|left open|Sanitizer|runtime error/, '... and nothing was';

$d = Dnsd->new(\%data, { dns_config => { workers => 4 } });
ok whole(), 'started anew';
@last = workers();
kill KILL => $d->{pid};
ok $d->wait_for(sub { !Node::alive(@last) }), 'when the daemon is killed its workers go with it';
is scalar(@last), 3, '... all three';

$d = Dnsd->new(\%data, { dns_config => { workers => 1 } });
is good(), 48, 'one worker: as before';
is scalar(my @none = workers()), 0, '... which is the daemon itself';
is $d->stop('TERM'), 0, '... and ends well';
done_testing;
