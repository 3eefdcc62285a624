# Ce qui est dit aux gens, en français. en.ftl a les mêmes phrases dans le même ordre.
# Là où l'API Django dit la même chose, ce sont ses mots, avec les espaces insécables de ses catalogues, là où elles y
# sont.

## A field

required = Ce champ est obligatoire.
null = Ce champ ne peut être nul.
blank = Ce champ ne peut être vide.
at-most = Assurez-vous que ce champ comporte au plus { $max } { $unit ->
    [characters] caractères
    [bytes] octets
    [users] utilisateurs
    [words] mots
    [interests] centres d'intérêt
    [messages] messages
    [conversations] conversations
   *[other] { $unit }
}.
at-least = Assurez-vous que cette valeur est supérieure ou égale à { $min }.
from-to = De { $min } à { $max }.
one-at-least = Au moins un.
twice = Quelqu'un est nommé deux fois.
no-text = Chaîne de caractère invalide.
no-integer = Un nombre entier valide est requis.
no-number = Un nombre valide est requis.
no-boolean = Doit être un booléen valide.
no-date = La date n'a pas le bon format. Utilisez un des formats suivants : YYYY-MM-DD.
no-choice = « { $told } » n'est pas un choix valide.
no-list = Attendait une liste d'éléments mais a reçu « { $kind } ».
no-file = La donnée soumise n'est pas un fichier. Vérifiez le type d'encodage du formulaire.
empty-file = Le fichier soumis est vide.
no-picture = Transférez une image valide. Le fichier que vous avez transféré n'est pas une image, ou il est corrompu.
file-stays = Un fichier vient avec un nouveau message, et reste avec lui.
no-key = Clé primaire « { $key } » non valide - l'objet n'existe pas.
no-object = Donnée non valide. Attendait un dictionnaire, a reçu { $kind }.
no-email = Saisissez une adresse e-mail valide.
no-birth-date = Ce n'est pas une date de naissance possible, YYYY-MM-DD.
no-place = Il n'y a pas de tel point sur la Terre.
nul = Le caractère nul n’est pas autorisé.
control-characters = Les caractères de contrôle ne sont pas autorisés.
combining-marks = Au plus { $max } signes diacritiques à la suite.
say-something = Dites quelque chose.
leave-out = Omettez-le, ou dites quelque chose.
say-why = Dites pourquoi, en un mot.
one-emoji = Un seul emoji.
one-word = Donnez au moins un mot.
interest-empty = Un centre d'intérêt n'est pas vide.
age-order = De age_min à { $max }.

## A frame or a request

object-expected = Un objet est attendu.
frame-shape = Une trame est {"{"}"id":1,"type":"subject.verb","data":{"{"}...{"}"}{"}"}.
frame-fault = Une trame est {"{"}"id":1,"type":"subject.verb","data":{"{"}...{"}"}{"}"} : { $why }.
frame-no-json = La trame n'est pas du JSON : { $why }.
data-fault = Donnée non valide : { $why }.
no-command = Aucune commande n'a ce type.
json-fault = JSON parse error - { $why }
multipart-fault = Multipart form parse error - { $why }
too-many-parts = Au plus { $max } parties.
body-broken = Le corps est incomplet.
body-late = Le corps n'est pas arrivé à temps.
body-too-large = Le corps dépasse { $max } octets.
method-not-allowed = Méthode « { $method } » non autorisée.
unsupported-media = Type de média « { $media } » non supporté.
not-acceptable = L'en-tête « Accept » n'a pas pu être satisfaite.
not-found = Non trouvé.
no-match = No { $model } matches the given query.
invalid-page = Page non valide.

## Who it is

not-provided = Informations d'authentification non fournies.
# Ces textes viennent d'une bibliothèque dont le catalogue français n'était pas installé : ils étaient anglais.
bad-header = Authorization header must contain two space-delimited values
bad-token = Given token not valid for any token type
token-invalid = Token is invalid
token-expired = Token is expired
token-wrong-type = Token has wrong type
token-ended = Token is blacklisted
token-nobody = Token contained no recognizable user identification
user-gone = User not found
user-disabled = User is inactive
no-account = No active account found with the given credentials
no-account-for-token = No active account found for the given token.
say-who = Dites d'abord qui vous êtes, avec auth.
said-who = Cette connexion a déjà dit qui elle est.
own-socket = Ceci se demande sur une connexion de sa propre session.
one-token = Donnez soit token, soit refresh.
other-session = Ce jeton est d'une autre session.
logged-out = Déconnexion réussie
status-updated = Statut en ligne mis à jour
wrong-password = Ce n'est pas votre mot de passe.

## Names and passwords

name-taken = Un utilisateur avec ce nom existe déjà.
name-needed = Un nom d’utilisateur est requis.
name-characters = Saisissez un nom d’utilisateur valide. Il ne peut contenir que des lettres, des nombres ou les caractères « @ », « . », « + », « - » et « _ ».
name-reserved = Ce nom d’utilisateur est réservé.
password-common = Ce mot de passe est trop courant.
password-short = Ce mot de passe est trop court. Il doit contenir au minimum { $min } caractères.
passwords-differ = Les mots de passe ne correspondent pas.
new-passwords-differ = Les nouveaux mots de passe ne correspondent pas.
old-password-wrong = Le mot de passe actuel est incorrect.
password-changed = Mot de passe changé avec succès

## What may not be done

no-such = { $what ->
    [user] Utilisateur introuvable.
    [conversation] Conversation introuvable.
    [message] Message introuvable.
    [match] Match introuvable.
    [member] Membre introuvable.
    [session] Session introuvable.
    [file] Fichier introuvable.
   *[other] Introuvable : { $what }.
}
forbidden = Vous n'avez pas la permission d'effectuer cette action.
this-is-you = C'est vous.
no-such-person = L'utilisateur spécifié n'existe pas.
not-yourself = Vous ne pouvez pas vous liker vous-même.
not-with-yourself = Vous ne pouvez pas créer une conversation avec vous-même.
liked = Like enregistré avec succès
unliked = Like annulé avec succès
blocked = Utilisateur bloqué avec succès
unblocked = Utilisateur débloqué avec succès
conversation-left = Conversation supprimée avec succès
marked-read = Message marqué comme lu
talk-with-yourself = Vous ne pouvez pas parler avec vous-même.
matches-only = Ici, seuls les matchs peuvent se parler.
you-blocked = Vous avez bloqué cet utilisateur. Débloquez-le d'abord.
blocks-full = Au plus { $max } utilisateurs bloqués.
never-matched = Vous n'avez jamais eu ce match.
no-such-evidence = Vous ne voyez pas de tel message de cet utilisateur.
key-reused = Cette client_key a servi à un autre contenu.
no-such-reply = Il n'y a pas de tel message dans cette conversation.
only-author = Seul son auteur peut modifier un message.
only-author-or-admin = Seul son auteur ou un administrateur du groupe peut supprimer un message pour tous.
group-events-stay = Ce qui est arrivé au groupe ne peut être supprimé.
no-such-number = Ce numéro n'existe pas encore dans cette conversation.
no-such-personal-number = Ce numéro n'existe pas dans votre flux personnel.
page-position = Donnez le `next` de la page précédente, inchangé.
before-or-after = Dites before ou after, pas les deux.
emojis-full = Au plus { $max } emojis différents.
title-needed = Un groupe a besoin d'un titre.
group-full = Un groupe a au plus { $max } membres.
leave-instead = Quittez avec conversation.leave.
role-too-low = Votre rôle dans ce groupe ne le permet pas.
last-owner = Un groupe garde au moins un propriétaire. Nommez-en d'abord un autre.
direct-has-none = Une conversation directe n'a ni titre, ni rôles, ni autres membres.
birth-date-needed = Ajoutez votre date de naissance à votre profil : sans elle, vous ne voyez personne ici et personne ne vous voit.
too-young = Ici, il faut avoir au moins { $years } ans pour voir d'autres personnes.

## Pictures and files

picture-expected = Ce n'est pas une image. Envoyez un JPEG, PNG, GIF ou WebP.
picture-broken = Cette image est abîmée ou incomplète. Enregistrez-la de nouveau, ou envoyez-en une autre.
picture-large = Cette image est trop grande. Au plus { $side } pixels de côté, et { $millions } millions en tout.
animation-frames = Cette animation est trop longue. Au plus { $max } images.
animation-long = Cette animation est trop grande. Au plus { $millions } millions de pixels, toutes ses images comprises.
file-heavy = Au plus { $max } octets.
files-full = Au plus { $max } fichiers. Supprimez des messages ou des images qui en ont.
bytes-full = Vos fichiers peuvent compter { $max } octets en tout. Supprimez des messages ou des images qui en ont.
uploads-full = Au plus { $max } envois à la fois. Attendez la fin de l'un d'eux.
pictures-only = Un profil ne montre que des images.
named-twice = Un fichier est nommé deux fois.

## The server

throttled = Requête ralentie. Disponible à nouveau dans { $seconds } { $seconds ->
    [one] seconde
   *[other] secondes
}.
too-fast = Trop vite. Attendez, puis réessayez.
busy = Service momentanément indisponible. Réessayez dans un instant.
overtaken = D'autres changent la même chose en ce moment. Réessayez.
unknown-outcome = L'issue n'est pas connue. Renvoyez-le avec la même client_key.
query-too-long = La recherche a pris trop de temps. Demandez moins.
disk-full = Le serveur ne peut pas écrire : son disque est plein. Rien n'a été changé.
internal = Une erreur du serveur ; son journal l'a sous { $incident }.
