" The text form of lutc's circuits. What an operation is called stands in no list here: its place says what it is.
if exists("b:current_syntax")
  finish
endif

syntax case match

syntax match lirPunctuation "[][()<>,:*]"
syntax match lirOperator "->\|=>\|="
syntax match lirWord "\<\h[A-Za-z0-9_]*\(-[A-Za-z0-9_]\+\)*" contained
syntax match lirAttribute "\<\h[A-Za-z0-9_]*\ze\s*=>\@!" nextgroup=lirAssign skipwhite
syntax match lirAssign "=" contained nextgroup=lirWord,lirWords skipwhite
syntax region lirWords matchgroup=lirPunctuation start="\[" end="\]" contained contains=lirWord,lirNumber,lirComment,lirPunctuation,lirWords
syntax match lirNumber "[A-Za-z0-9_.%@]\@<![+-]\?\(\d\+/\d\+\|\(\d\+\(\.\d*\)\?\|\.\d\+\)\([eE][+-]\?\d\+\)\?\)[A-Za-z0-9_.]\@!"
syntax match lirType "[A-Za-z0-9_.%@-]\@<![su]\d\+\(f-\?\d\+\)\?[A-Za-z0-9_.-]\@!"
syntax match lirValue "%[A-Za-z0-9_.]\+"
syntax match lirSymbol "@[A-Za-z0-9_.]\+"
" An operation follows the `=` of a statement, which begins a line of a body.
syntax match lirStatement "^\s*%[A-Za-z0-9_.]\+\s*\(:[^=#]*\)\?=\s*\h[A-Za-z0-9_]*" contained contains=lirValue,lirType,lirNumber,lirPunctuation,lirMade
syntax match lirMade "=\s*\h[A-Za-z0-9_]*" contained contains=lirOperation,lirOperator
syntax match lirOperation "\h[A-Za-z0-9_]*" contained
syntax match lirKeyword "^\s*\zs\(note\|const\|table\|func\|run\)\>"
syntax match lirKeyword "^\s*\zs\<design\>" nextgroup=lirName skipwhite
syntax match lirKeyword "^\s*\zs\<lir\>" nextgroup=lirVersion skipwhite
syntax match lirKeyword "\<file\ze\s*\""
syntax match lirVersion "\d\+" contained nextgroup=lirStage skipwhite
syntax match lirStage "\h[A-Za-z0-9_-]*" contained
syntax match lirName "\h[A-Za-z0-9_]*" contained
syntax match lirEscape "\\." contained
syntax region lirString start=+"+ skip=+\\.+ end=+"+ oneline contains=lirEscape
syntax region lirOrigin start=+!"+ skip=+\\.+ end=+"+ oneline contains=lirEscape
syntax match lirComment "#.*$" contains=@Spell
syntax region lirBody matchgroup=lirPunctuation start="{" end="}" fold contains=lirStatement,lirPunctuation,lirOperator,lirAttribute,lirWord,lirType,lirNumber,lirValue,lirSymbol,lirOrigin,lirString,lirComment

highlight default link lirPunctuation Delimiter
highlight default link lirOperator Operator
highlight default link lirAssign Operator
highlight default link lirWord Constant
highlight default link lirAttribute Identifier
highlight default link lirNumber Number
highlight default link lirVersion Number
highlight default link lirType Type
highlight default link lirValue Identifier
highlight default link lirSymbol Macro
highlight default link lirOperation Function
highlight default link lirKeyword Keyword
highlight default link lirStage StorageClass
highlight default link lirName Function
highlight default link lirEscape SpecialChar
highlight default link lirString String
highlight default link lirOrigin Special
highlight default link lirComment Comment

let b:current_syntax = "lir"
