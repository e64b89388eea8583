"""General words in English, German and French, and what a field with that meaning is usually called. They are about
kinds of things, not about the data of one domain.

Each idea has the names of fields, a colon, and the words that people use, without accents. A word of either side stands
for the names.
"""

from functools import lru_cache

from cacheapp.describe.words import fold, stem

_IDEAS = """
user account username login principal email : who whom whose user person people somebody owner accounts member
  nutzer benutzer konto anwender utilisateur compte wer qui
name display title label : called named name bezeichnung nom
id identifier uid uuid key number no : identify number nummer kennung numero identifiant
host hostname machine computer server node device : machine box boxes server workstation pc rechner maschine host
  hosts gerat machines serveur ordinateur hote poste
timestamp time date created datetime : when yesterday today recent recently latest last first week weekend month
  year night hour hours minutes date time gestern heute wann zeit datum woche monat jahr nacht hier aujourd quand
  heure jour mois annee
duration elapsed took latency time ms sec ns delay : long slow slowest slower fast fastest quick speed latency
  elapsed last lasted take takes took duration lange dauer langsam langsamste schnell dauert duree lent lente rapide
  temps
start started begin opened first : start started begin began beginning since open beginn anfang seit gestartet debut
  commence depuis demarrage
end ended finish finished completed closed stop last : end ended finish finished complete done over stopped ende
  beendet fertig fin termine
created added registered : created new creation added registered joined neu erstellt angelegt hinzugefugt nouveau
  cree ajoute
updated modified changed : change changed modified updated altered geandert anderung aktualisiert modifie change mis
deleted removed : deleted removed gone geloscht entfernt supprime efface
old previous before : before previous former vorher alt ancien avant
new current after : after current now nachher neu nouveau apres actuel
status state phase outcome result : status state up down running stopped healthy unhealthy finished condition
  zustand lauft etat statut
outcome result success status : succeed succeeded success successful worked erfolg erfolgreich reussi succes
error failure exception failed failures errors outcome reason status fault : fail failed fails failing failure error
  broken wrong crash crashed trouble fehler fehlgeschlagen gescheitert ausfall erreur echec echoue panne
reason cause message code : why reason because cause warum grund ursache weshalb pourquoi cause raison
message text body content description comment : say says said message text comment told written wrote nachricht text
  meldung geschrieben message texte contenu
description summary title subject : about describe summary topic beschreibung betreff description sujet
action operation event method type activity verb : action do did done operation happen happened activity made aktion
  vorgang tat getan action operation
allowed denied blocked action decision outcome policy drop : deny denied blocked block reject rejected forbid
  forbidden refused dropped drop allow allowed permitted let through abgelehnt blockiert verboten gesperrt erlaubt
  refuse bloque interdit autorise
severity level priority prio risk : severe severity critical important urgent priority level high schwere dringend
  prioritat wichtig gravite urgent priorite niveau
risk score confidence reputation threat : risk risky dangerous suspicious suspect sure certain confidence trust
  malicious riskant gefahrlich verdachtig risque dangereux suspect malveillant
type kind category class : type kind sort category class art typ kategorie sorte genre categorie type
tag tags label labels : tag tagged label labelled etikett schlagwort etiquette
count total number num quantity amount sum : count many number total amount sum how often anzahl viele summe
  insgesamt haufigkeit nombre combien total somme
percent pct ratio rate share norm : percent percentage share ratio rate proportion full busy usage utilisation
  utilization prozent anteil quote auslastung pourcentage taux part
average avg mean median : average mean typical usual normal durchschnitt mittel moyenne moyen
max maximum peak high highest top : highest maximum peak largest biggest most worst hochste maximal grosste plus
  maximum
min minimum low lowest : lowest minimum smallest least niedrigste kleinste minimum
free available remaining left idle : free available left remaining low empty full spare idle frei verfugbar ubrig
  libre disponible reste
used usage used busy consumed : used use usage consume consumed busy busiest utilised load verbrauch belegt genutzt
  last utilise consomme consomment occupe charge
limit quota capacity max : limit quota maximum capacity exhausted grenze kapazitat limite capacite
bytes size length volume : size big large volume bytes data traffic gross grosse menge datenmenge taille volume
  octets
network rx tx in out ingress egress bytes packets inbound outbound : traffic network bandwidth transfer transferred
  exchanged sent received in out netzwerk verkehr datenverkehr reseau trafic
source client src remote origin from : from source client origin caller requester came come quelle herkunft absender
  kamen kommen source origine vient client
destination dest dst target server to : to destination target toward ziel empfanger vers cible destination
ip address addr : ip address addresses adresse adressen adresse
domain hostname server_name dns : domain site website sites domains domane domaine
url uri path page link route : page pages url link site website web address seite seiten link page lien
path file filename directory folder : file files document folder directory datei dateien ordner pfad fichier
  fichiers dossier repertoire
hash checksum md5 sha256 : hash checksum fingerprint prufsumme empreinte
user_agent browser agent client : browser browsers app client agent navigateur
os platform version : operating system windows linux mac os betriebssystem systeme
version release build : version release build outdated upgrade ausgabe version
http status_code response method request : http web request requests answer answers response not found 404 500 403
  5xx 4xx error anfrage anfragen antwort requete requetes reponse
response reply answer : answer answers reply replied response respond antwort antworten reponse
request query call operation : request requests call calls ask asked query anfrage anfragen aufruf requete requetes
  appel demande
query statement sql : query queries statement statements sql abfrage abfragen requete
referrer referer : referring referred link came from referent
port protocol transport : port protocol tcp udp protokoll protocole
session connection conn login : session sessions connection connections connected sitzung verbindung verbindungen
  connexion connexions session
login logon signin authentication auth : login logon logins sign signin signed in logged authenticate authentication
  anmeldung angemeldet anmelden einloggen connexion authentification connecte
logout logoff signout : logout logoff signed out abgemeldet deconnexion
password credential secret token key : password credential secret passwort kennwort mot passe
group role privilege permission member : group role rights privilege privileges permission permissions admin admins
  administrators gruppe rolle rechte groupe role droits
process executable command program pid : process processes program programs executable executables command run ran
  started launched programm programme prozess befehl ausgefuhrt programme processus commande
executable path name : executable binary program ausfuhrbar
library dll module package : library libraries module package dependency bibliothek paket bibliotheque paquet
service application app component : service services application app program dienst dienste anwendung service
  application
registry key value hive autostart : registry hive autostart registrierung
certificate x509 tls ssl not_after : certificate certificates certs tls ssl https encrypted encryption expire
  zertifikat zertifikate verschlusselung certificat chiffrement
not_after expires expiry expiration valid until due : expire expires expired expiry valid until ablaufen lauft
  gultig expirer expire valide
signature signed trusted valid : signed unsigned signature trusted valid signatur signiert signe
cipher encryption tls version : encryption encrypted cipher crypto verschlusselung chiffrement
vulnerability cve : vulnerability vulnerabilities cve flaw exploit schwachstelle lucke vulnerabilite faille
threat indicator ioc malware : threat threats indicator malware virus attack attacker bedrohung angriff menace
  attaque
technique tactic mitre : mitre attack technique tactic
rule policy signature acl : rule rules policy policies list regel richtlinie regle politique
alert alarm event detection : alert alerts alarm warning detection warnung alarm alerte avertissement
log logger log.level message : log logs logged protokoll journal
stack_trace stack trace exception error : stack trace traces exception exceptions crash
span trace transaction parent : span spans trace transaction call
cpu processor core load : cpu processor processors cores load auslastung prozessor processeur charge
load cpu queue : load busy busiest overloaded last auslastung charge
memory mem ram heap rss swap : memory ram heap swap swapping oom speicher arbeitsspeicher memoire
disk filesystem storage volume fs space diskio : disk disks drive storage space full volume datastore platte
  festplatte speicherplatz disque stockage espace
read reads io get : read reads reading downloaded download lesen gelesen lu lecture telecharge
write writes io put : write writes written writing saved save upload uploaded schreiben geschrieben ecriture ecrit
operation key object requester : downloaded download fetched object objects herunterladen heruntergeladen
  telecharger
uptime boot restart restarts start_time : uptime boot booted restart restarts restarted running reboot since
  neustart laufzeit redemarrage
restart shutdown reason reboot : restart restarts reboot shutdown unexpected neustart redemarrage arret
container image docker pod : container containers docker behalter conteneur conteneurs
pod kubernetes namespace deployment container : pod pods kubernetes k8s namespace
orchestrator kubernetes k8s cluster : k8s kubernetes cluster orchestrator
cluster status health : cluster red yellow green health
health healthcheck status : health healthy unhealthy check checks gesund sante
evicted evictions expired oom : evicted evict thrown away discarded dropped killed verdrangt
killed reason oom terminated : killed kill terminated evicted oom abgebrochen tue
replicas replica available desired ready updated : replica replicas rollout deployment scaled available
replication replica replset secondary master lag : replica replicas replicated replication secondary slave master
  sync behind replikation replique
lag offset behind delay backlog : lag behind late backlog delayed stale ruckstand verzogerung retard
topic partition consumergroup consumer broker : topic partition consumer consumers subscriber konsument konsumenten
  consommateur
worker thread pool slot busy idle : worker workers thread threads slots pool
lock wait waiting blocked : lock locks locked waiting wait deadlock sperre warten verrou attente
blocks hit read buffer : cache buffer blocks hit
backend proxy upstream server : backend backends proxy upstream
table collection index database db : table tables collection database db databases schema tabelle datenbank table
  base
database db : database databases db datenbank base
bucket object key s3 : bucket buckets object objects
firewall rule action acl : firewall rule
interface vlan network : interface adapter nic schnittstelle
subnet vpc network : subnet vpc
zone region availability : zone region location availability area standort
cloud account project region provider : cloud account project aws azure gcp
country iso_code country_name : country countries nation abroad foreign land lander pays
city location place town : city town place stadt ort ville
region state province : region state province bundesland
location geo lat lon coordinates position pos place : where location place map near position wo standort karte ou
  lieu endroit
street address zip postal : address street zip postcode adresse strasse plz rue
timezone tz : timezone zeitzone fuseau
language locale lang : language sprache langue
customer client buyer cust : customer customers buyer buyers client shopper kunde kunden kaufer client acheteur
vendor supplier manufacturer brand : vendor supplier manufacturer brand maker hersteller lieferant marke fournisseur
  fabricant marque
order purchase sale : order orders sale sales purchase bought sold bestellung bestellungen verkauf verkaufe kauf
  commande ventes achat
product item article sku : product products item items article goods ware waren artikel produkt produkte article
  produit produits
category department segment : category department segment kategorie abteilung categorie rayon
price cost amount total fee : price cost costs expensive cheap spend spent worth pay paid fee best preis kosten
  teuer billig prix cout cher
total amount price revenue sales turnover net gross : revenue turnover sales income earned earn best umsatz
  einnahmen erlos gewinn chiffre affaires revenu ventes
currency ccy : currency wahrung devise monnaie
tax vat : tax taxes vat steuer mwst taxe tva impot
discount rebate coupon : discount rebate coupon rabatt remise
quantity qty items count basket : basket cart quantity items many stuck menge warenkorb panier quantite
stock inventory qty reserved warehouse : stock inventory warehouse available lager bestand vorrat stock entrepot
payment pay method card type transaction : pay paid payment payments card cash credit zahlung bezahlt karte paiement
  carte
tip gratuity : tip tips generous gratuity trinkgeld pourboire
fare price amount : fare ride price fahrpreis tarif tarif
invoice bill inv due : invoice invoices bill bills overdue rechnung rechnungen facture
transaction tx amount iban : transaction transactions transfer booking uberweisung buchung virement
bank iban bic account : bank account konto banque compte
refund return returned : refund return returned returns ruckgabe erstattung retour remboursement
delivery shipment shipped delivered carrier parcel eta : delivery delivered parcel parcels shipment shipping package
  arrive arrived lieferung paket sendung versand livraison colis expedition
eta promised due expected : promised expected late due estimated erwartet versprochen prevu promis
carrier airline company operator : airline carrier carriers company fluggesellschaft airline spediteur compagnie
  aerienne transporteur
delay delayed late delaymin : late delay delayed delays punctual verspatung verspatet retard retards
cancelled canceled : cancelled canceled cancellation abgesagt storniert annule
flight trip ride journey flighttime : flight flights trip trips ride rides journey flug fluge fahrt reise vol vols
  voyage trajet
pickup start origin departure from : begin start pick pickup depart departure leave abfahrt start depart
dropoff end dest arrival : arrive arrival drop destination ankunft ziel arrivee
passenger passengers guest : passenger passengers traveller fahrgast passagier passager
distance kilometers miles km : distance far kilometer kilometers km miles mile entfernung strecke distance kilometre
taxi cab trip : taxi cab cabs
weight kg mass : weight heavy weigh gewicht schwer poids
temperature temp tmax tmin celsius : temperature temperatures warm hot cold heat temperatur warm kalt heiss chaud
  froid
humidity rh moisture : humidity humid moisture feuchte feuchtigkeit humidite
rain precipitation prcp : rain rained rainfall precipitation regen niederschlag pluie
snow snwd depth : snow snowfall schnee neige
wind gust speed wsf awnd : wind gust gusts windy storm wind sturm boe vent rafale
sunshine sun psun tsun : sun sunshine sunny sonne soleil
pressure hpa : pressure druck pression
weather station : weather station wetter meteo
altitude elevation height dem : altitude elevation height high hohe altitude hauteur
population inhabitants : population inhabitants people einwohner habitants
sensor device reading : sensor sensors device probe fuhler sensor capteur
battery batt voltage : battery batteries akku batterie pile
signal rssi strength : signal reception strength signal empfang
employee staff emp person : employee employees staff colleague colleagues worker joined company mitarbeiter
  angestellte personal employe salarie personnel
department dept team division : department team division abteilung service departement equipe
hired joined entry : hired joined started company eingestellt embauche
salary wage pay grade : salary wage pay gehalt lohn salaire
manager supervisor boss : manager boss supervisor chef vorgesetzter responsable
given_name first_name firstname : first name vorname prenom
surname last_name lastname family : surname last family nachname nom
birth birthday birth_date age : birth birthday born age old alter geburtstag naissance age
gender sex : gender sex female male women men woman man geschlecht frau frauen mann manner femme femmes homme hommes
  sexe
phone mobile tel : phone telephone call mobile telefon handy telephone
email mail address : mail mails email e-mail mailbox mails courriel
sender from : sender sent wrote absender gesendet expediteur envoye
recipient to rcpt receiver : recipient received receiver receive empfanger bekommen destinataire recu
attachment attachments file : attachment attachments attached anhang piece jointe
subject title : subject about betreff objet
channel room chat conversation : channel room chat conversation kanal raum salon
ticket issue case incident : ticket tickets issue issues case incident complaint vorfall anfrage incident
requester reporter author : requester reporter author asked reported autor auteur
assignee agent queue : assigned assignee agent bearbeiter
satisfaction csat score nps rating : satisfied satisfaction happy rating detractor detractors promoter promoters
  zufrieden bewertung satisfait note avis
comment feedback review : comment comments feedback review say opinion kommentar meinung commentaire avis
survey respondent answered : survey poll respondent respondents detractors umfrage enquete sondage
campaign newsletter mailing opens clicks : campaign campaigns newsletter marketing kampagne werbung campagne
click clicks opens views : click clicked opened viewed klick geklickt clic
session visit landing pages : visit visits visitor visitors visited landing besuch besucher visite visiteur
converted conversion : converted conversion bought convert
feature flag toggle rollout enabled : feature flag flags toggle switch enabled on off schalter
enabled active on : enabled active on off activated aktiv an aktiviert actif active
audit did before after : audit changed history
patient appointment clinic : patient patients appointment appointments termin arzt patienten rendez vous
physician doctor : doctor physician arzt medecin
noshow missed absent : missed absent noshow turn up nicht erschienen absent
diagnosis icd10 icd : diagnosis disease illness diagnose krankheit maladie
book isbn title loan : book books library loan buch bucher livre bibliotheque
lent loan borrowed : lent borrowed borrow loan ausgeliehen verliehen emprunte
fine fee penalty : fine penalty late strafe gebuhr amende
recipe ingredients cuisine dish : recipe dish dishes meal food vegetarian cook cooking rezept gericht essen recette
  plat
calories kcal : calories kalorien
flat apartment rooms rent sqm : flat apartment house home property offer wohnung haus miete zimmer appartement
  logement loyer maison
area sqm square : area square big surface flache quadratmeter
colour color : colour color farbe couleur
size format : size grosse taille
device model platform : device phone model handset gerat appareil
crash stack signal exception : crash crashes crashed absturz plantage
job task worker : job jobs task tasks background aufgabe tache
queue depth pending waiting backlog : queue queued waiting pending backlog jobs warteschlange wartet file attente
hits misses cache : cache hit miss treffer
tries retries attempts failures : retry retried retries attempts tried again versuch versuche essai tentatives
scheduled cron next : scheduled schedule planned geplant prevu
weekday day_of_week dayofweek : weekday weekdays monday sunday day wochentag tag jour semaine
birthplace origin nationality : origin nationality nationalitat
school student course : student school course schuler studentin kurs etudiant cours
visibility visibility_change shared acl : visible visibility shared sharing public private sichtbar freigegeben
  partage
firewall dropped packets : packets packet dropped pakete paquets
requests total rps : requests hits traffic load anfragen requetes
snapshot backup save rdb : snapshot backup dump save saved sicherung sauvegarde
persistent volume claim pvc : volume claim bound unbound
phase status bound : bound unbound pending bereit
principal_email principal caller identity user_identity arn : who made caller identity whom
"""


_JOIN = str.maketrans("", "", "_.")


@lru_cache(maxsize=1)
def _ideas() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for line in _IDEAS.replace("\n  ", " ").strip().splitlines():
        names, _, words = line.partition(" : ")
        meant = [stem(name.translate(_JOIN)) for name in fold(names).split()]
        weight = 1.0 / (1 + 0.15 * len(meant))
        for word in {*meant, *(stem(word) for word in fold(words).split())}:
            terms = found.setdefault(word, {})
            for term in meant:
                if term != word:
                    terms[term] = max(weight, terms.get(term, 0.0))
    return found


def meant_by(word: str) -> dict[str, float]:
    """Return the stems of the names of fields that a stemmed word may stand for, with weights."""
    return _ideas().get(word, {})
