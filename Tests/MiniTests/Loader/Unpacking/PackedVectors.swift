// Data of two kinds and what the packers make of them: xz 5.4.1, zstd 1.5.4, lz4 1.9.4. The data are made again here,
// byte by byte, so that nothing but the packed form is taken on trust.

import Foundation

@testable import Mini

enum PackedVectors {
    /// Something like code and its texts: calls, some of them of few targets, and bytes that only look like calls.
    static let code: [UInt8] = {
        var state: UInt32 = 7
        var bytes: [UInt8] = []
        func next() -> Int {
            state = state &* 1_103_515_245 &+ 12345
            return Int(state >> 16)
        }
        let words = ["push ", "mov %eax,", "ret\n", "call ", "Linux version "]
        while bytes.count < 1500 {
            let value = next()
            switch value % 8 {
            case 0, 1:
                bytes.append(0xE8 + UInt8(value % 8))
                let target = value >> 3 % 4 * 0x1000 + 0x400
                bytes += [0, 0, 0, 0]
                bytes.put(UInt32(truncatingIfNeeded: target - bytes.count), at: bytes.count - 4)
            case 2: bytes += [0xE8, 0xE9, UInt8(value >> 3 % 2 * 255), UInt8(value >> 4 & 255), 0]
            case 3, 4, 5: bytes += Array(words[value >> 3 % 5].utf8)
            case 6: bytes += [UInt8](repeating: 0, count: value >> 3 % 40)
            default:
                for _ in 0..<(1 + value >> 3 % 6) { bytes.append(UInt8(next() & 255)) }
            }
        }
        return Array(bytes[..<1500])
    }()

    /// Letters, the early ones more often, without any word: only a code of their own makes them shorter.
    static let letters: [UInt8] = {
        var state: UInt32 = 11
        return (0..<1200).map { _ in
            state = state &* 1_103_515_245 &+ 12345
            let value = Int(state >> 16)
            return UInt8(97 + min(value % 26, value >> 5 % 26, value >> 9 % 26))
        }
    }()

    private static func bytes(_ text: String) -> [UInt8] {
        Array(Data(base64Encoded: text, options: .ignoreUnknownCharacters)!)
    }

    /// `xz --check=crc32 --x86 --lzma2=preset=9e`, as kernels are packed.
    static let xzCode = bytes(
        """
        /Td6WFoAAAFpIt42AgEEACEBHACHbtrl4AXbAbNdADabyy4hQOYBcLm5dQ0J87nKUS1rGe/bLVB4E351oulu
        VdfiSqSwqpGQKlu7ax4fwcQZSDPdbD6JLyPhR+DVAsJoma1vwGGXAh7A+ZgzYAjmhRjahByrEjS35nq7ZV8l
        gju6BptL5VcTn9YzRzi46tbog3pMiae6++Vr47tjVQd1VY+WXyGcVUdCktt4ejNwIig3PI65ecG8uyJ/qfhZ
        TJ1FbkWNjrY6a+DGmtLU5M/mtS4U+2NS35WK2UJ+SQ0nAeIyeuDUBBx9rNSB0Ve4BZ/KmVyKFzPvfFHzQTkF
        iNO8FCV4Gk8hjIk8rsgdW8W8iuy+DbLelgJc/jG+HAa7W7ILe9KxXF8kjGq8uaahAW2ITzSie11rPVRw3rnQ
        FygORGqTOspZOPeOR4NqlhVOIXOSXA775nym3uYim6723g2nxJRirfYsVxst0yQ0vdo+YlX0bPTm/89XZMA/
        RI2sKi+JiPr1Wfu5CBeW73l9Qfu31MyVauS7uHctsCDPM7HYTH846fGC0/6enJMbAQfOaUeX5OuVFd37+F8J
        2gFsTagqmYkE9bt2WUDrjKxP5gfMa68iAAAALTCPogABywPcCwAAuqkNnz4wDYsCAAAAAAFZWg==
        """)

    /// `xz --check=crc64 --lzma2=preset=9e,lc=2,lp=2,pb=1`.
    static let xzCode64 = bytes(
        """
        /Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4AXbAelBADabyzghz7QZ9t18hpIj9C5mM2xgZnZvMQlSnW7LDu4X
        2JrWYeFW+DwEqR8bDiHhNM4YOS4aYoENb231spcBtW9dneplyg1xktprkmD5Z6hc9sOLJIJ9K1NyF/chu0qe
        gvCwHMeN1PR49Yitnbeyv9VJMjJAiZ7YW2wYjDy/tWJ1P0cof+EiCdGGVCRDCFViYLM9Cq603aEC4DQNnJCc
        s7c4qg7MigtNLbqKlQCDDdB42LEfI7R4Yq/ahnXLeMjkopqce6DTF/F3qg5KwTJSa2PONVx56vIeMl7ULsAl
        xWxlk3+EsLJVDedyNV4qc/D5C73KsNo/UdjBWS3T5XF/GqP/G6d0zdCJ13QSbJsSgLNGTY729Qxwn1BOZCB/
        xZQIKZSf9GVIkMZXxtwb+ZxlAmvlzcaiv2+8k6kDC+ChaYYFRwcfa0flN+5baATlNI49cYN3q9ieU1oz53gW
        p5AxPum1uuixbiph2eLiR3yIED4bLnFW/szGruZY88NluvnXWozlSY2irhECBB8tAjA5nXcyaylUQ4huw6RF
        2zFROkR/GTZCroKaU5nxvzN9AgiOK0DoShS0GTAjOLvVHhE+3wot7GrT1W6I+A5zV0zsWr/N1o9pjq1vtd7L
        vdqcR/GCKAsVxL3vGK/GQAAAAAD3+jP/KvXVmAABhQTcCwAAth5/GLHEZ/sCAAAAAARZWg==
        """)

    /// `zstd -19 --check`: the literals as they are, the sequences packed.
    static let zstdCode = bytes(
        """
        KLUv/QRoVRAAVBJtb3YgJWVheCwAY2FsbCDo6QCJAOjpANLpqyMAAOmmAwDo6QBRAExpbnV4IHZlcnNpb24U
        AOlgEwByZXQK2o0gl2Ho6f92AIwAGHB1c2gg6MsSAADoxh48XQDoiwIAVADpgSIAAOl8XTtRPujpACwCMgAA
        6fgh8+4R6cgB6bYxHADorCGLAWplUjHpSTEAKZlVeZm+6CkkAQAA6B8C6f0wbNI1vPuPzqwA9b986GwwhbbP
        6TQQhP8ST+FcERKC6PEv4i8AAHKP1XpHW96dHwDpky8AAHIvCB8O1Crd4FQvPB/pIX4AzQDo4Q4AAOjcLsn+
        ///ptujpAFTpAJcA6IMuexjlL0PpYS4AALQu2cpqCwYTf203LgAA6TIuAAAo/v//6OkARWGgkR1VTkgaZTpA
        hBhTZuUBkoFfOFJFB247bCNJCC27ffncAVnkwohzKoDPxSBpNtB0MkeLCt35rkSsjQTbFdfsgQDMgwUPE49N
        qYLn8CsvsatrvmBV5LUwOaacWQihCYMRyDxkbl7a7ukpL3G4QokEpMGOyRrYSF6HOGYBEUQHgir5Dm26Gsw4
        IETXjWj37b3EMrndFgwXfTAMmp7XChhDUJ1gLARq1VX15a6327KAQ5IvazsJAZYieEgGWg4wYAzlHWG2Ahye
        qeWMRQskJXQNucHnyQuaYprlji9Rer0XA14/xd8o8A==
        """)

    /// `zstd -19 --check` of the letters: one code in four streams.
    static let zstdLetters = bytes(
        """
        KLUv/QRobRQACksgChegJWkD4Fv7f2uNNEKIRHb3Tvz///+qBp0AmwCZAFjkT6uRVwQDAOjOqQzOBhEAcSut
        tqqjxbBs7oGPyASvlAUS/DTaZWjcWz6dZ4W/20Kjn4oMiosTXXOgAc1EvTYLxA1zKK1FjcFagmCMx4EOQWmw
        QgjtD6YEKyIXXJHAepJnIacqmhBYRVsWHc+QC7O/7HOowlgMjY8LKhSwvmEjCAYztlSvgWpDY3UQx9G9LgIp
        horcvgWAG8yVRh0lE2wllRywtWHhoDhYefTg4jpG03QuPL8K9HFmpNJeFRt+NNzxYGQ8AxIrb4/uMxCCwZPZ
        cHojwcHfyrwsbyVAwJcknnwOUYFKVgqipvEQUlGZWEMudf6Zn/QBrh102i+FhAnJo+5vCHpCZCosEyyDtx+K
        XZSCcyUyjM/ehFT3VcyuuxrrXkXTCGX50CDZQgQKVGFybm6ldDg8AUVU2EJCUuKBDTSXd0SKuSjUSnEHpJGj
        kBplSvBzO4ququAOaVqj3PBSPMWc3jqpJMR/hQHN1t+zbZblBIdbyiGtonyUvbo2JOIcaKdCRZWcnroQqwjW
        x82scEioMBj3BAtRwrHNw6FGWPaXGjklyGq87nTd6hXLxBChJv0aQRUQAuu0EMXKA4AdW1joZRtU+6U19kbp
        xKKjAySMsrE912RERiS5hBK5cDgbm7a3Y45RPvYtI8zGamYz/qaFZ3x36yJsYchx3NCRNK0NPZVAxBhQdkrA
        d2M4zq24XmQPoYxBJg27iDk4gtVUlKBYDAnkzLV6TBO00+frm45iDqAwTupfvquwkFmR1sN4iQIToaFb3VSB
        QyrCo5aSwuHygmTzQUwf44ruEMsfcvQdK/3ghtXgAwC5YDId
        """)

    /// `zstd -19 --no-check` of the first 200 letters: one code in one stream.
    static let zstdFew = bytes(
        """
        KLUv/QBoFQQAgowfErC5AUDRyNaM7BbZ3XsmSZIUEKmCjSfM5AMnT++R4n1fEAdiEuwlDWdPSyFv7HZhXZ4d
        IvvHQ7SspsDF16gVgUAwBKZeX6DW6y/QxGaS1waHDA7B0fQe2+TmKbVL3zmclHX2fZeKevK+TVZNd+BkvI8i
        BkkV+OOL4kP4MtwDAA==
        """)

    /// `lz4 -l -9`.
    static let lz4Code = bytes(
        """
        AiFMGE0CAACvbW92ICVlYXgsAAEABaVjYWxsIOjpAIkALAAFCQBK6OkA0i4AnumrIwAA6aYDAC4AD2MABfAD
        6OkAUQBMaW51eCB2ZXJzaW9ubwBvFADpYBMAAQAbAasAQXJldAoJAJ/ajSCXYejp/3YwAAYAKwAMiwBijADo
        6f8YSwAKlQDrcHVzaCDoyxIAAOjGEgCyAD8ePF2jABIw6IsCZwD7Bv9UAOmBIgAA6XwiAABdO1E+6OkALFMA
        DZ4AD1EAAgo0AA8nARdR6AIyAADTAHDp+CEAAOjzBQAh7hGdABLpGQAFuQELnQEiyAE7AQUgADHptjE4AFMc
        AOisIVYACjQABisALIsBtAALXgAQaokALGURJgAy6FIxdgA/6Ukx2AAEgCmZVXmZvugpjQB/JAEAAOgfIQkB
        C0wC6f0waABvbNI1vPuPvQIWBTgCEs6dAB2skwEBbgEFRwAu9b87ABZ8uQI/6GwwQAECASEAP4W2z4EABTHp
        NBCCAR2ESQMv/xJXAgAKEgCTT+FcERKC6PEvewAC6QK/4i8AAHKP1XpHW94IAwABBQAPogIFBu4BI50fbwIg
        6ZNPAA4wAAWIAzHpci/CABYIPgBiHw7UKt3grgIvVC95AQMrPB8SAAWZACTpIdAAT+jp/34YAxEH1wS9/80A
        6OEOAADo3C6JAkrJ/v//EwCf6bb+///o6QBUegMTc+kAlwDogy6eAA9qBAD5AXsY5S9D6WEuAAC0LtnKagtt
        AwWSAkIGE39tXAF0Ny4AAOkyLmsBgCj+///o6QBF
        """)

}
